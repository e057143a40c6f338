"""Inputs of one forward pass: ids, pictures and sounds, as padded tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from attnviz.attention import FEATURES
from attnviz.errors import InputError
from attnviz.models.loading.described import Side, segment_kinds, vocabulary_size
from attnviz.models.loading.load import Model

__all__ = ["Encoded", "call_options", "model_inputs", "padding_id", "source_inputs"]


@dataclass(frozen=True)
class Encoded:
    """Inputs of one forward pass: a text as ids, and pictures or sounds as numbers.

    Attributes:
        ids: the text the model reads; for an encoder-decoder, the encoder's side. Empty for a
            model that reads pictures or sounds only.
        segments: 0 or 1 per token: the first or the second text of a pair.
        target: the decoder's ids, begin token included; None for a one-stack model.
        closing: the token that ends the target: predicted by its last position, never read.
        cut: how many tokens did not fit and were left out (only when cutting was allowed).
        features: pictures ("pixel_values": [channel, height, width]) and sounds
            ("input_features": [mel bin, frame]), where the model reads them.
        reads_segments: whether segments are given to the model as token_type_ids. RoBERTa's
            tokenizer makes none: there they are shown and not read.
        notes: sentences about what was changed on the way from the text to the ids.
    """

    ids: tuple[int, ...] = ()
    segments: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None
    closing: int | None = None
    cut: int = 0
    features: Mapping[str, Tensor] = field(default_factory=dict, hash=False)
    reads_segments: bool = True
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __eq__(self, other: object) -> bool:
        """Return whether both hold equal ids, and pictures and sounds of the same numbers."""
        if not isinstance(other, Encoded):
            return NotImplemented
        mine, theirs = self.features, other.features
        texts = [(one.ids, one.segments, one.target, one.closing, one.cut) for one in (self, other)]
        return (
            texts[0] == texts[1]
            and mine.keys() == theirs.keys()
            and all(torch.equal(values, theirs[name]) for name, values in mine.items())
        )


def model_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """Return the model's arguments for a batch, padded on the right."""
    inputs = source_inputs(model, encoded)
    targets = [one.target for one in encoded if one.target is not None]
    if model.info.family == "encoder-decoder":
        if len(targets) != len(encoded):
            raise InputError(f"{model.info.name} needs a target for each of {len(encoded)} texts")
        pad = padding_id(model, "target")
        inputs["decoder_input_ids"] = _padded(model, targets, pad)
        inputs["decoder_attention_mask"] = _padded(model, [[1] * len(one) for one in targets], 0)
    return inputs


def source_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Any]:
    """Return the model's arguments for a batch without those of its decoder."""
    inputs: dict[str, Any] = {}
    if "input_ids" in model.sites.reads:
        inputs["input_ids"] = _padded(model, [one.ids for one in encoded], padding_id(model))
        inputs["attention_mask"] = _padded(model, [[1] * len(one.ids) for one in encoded], 0)
        segments = [one.segments for one in encoded if one.segments and one.reads_segments]
        if len(segments) == len(encoded) and segment_kinds(model.network) > 1:
            inputs["token_type_ids"] = _padded(model, segments, 0)
    for name in FEATURES:
        if name in model.sites.reads:
            shapes = {tuple(one.features[name].shape) for one in encoded}
            if len(shapes) > 1:
                raise InputError(
                    f"inputs that are run together have one size, and these have {len(shapes)}"
                )
            together = torch.stack([one.features[name] for one in encoded])
            inputs[name] = together.to(model.network.device, model.network.dtype)
    return inputs


def call_options(model: Model, body: PreTrainedModel) -> dict[str, Any]:
    """Return the options of a forward pass that replace the same settings of a configuration."""
    options: dict[str, Any] = {}
    if _accepts(body, "return_dict"):
        options["return_dict"] = True
    if model.info.family != "encoder":
        options["use_cache"] = False
    return options


def _accepts(body: PreTrainedModel, option: str) -> bool:
    """Return whether a forward pass takes an option by name, or through a decorator."""
    forward = type(body).forward
    arguments = inspect.signature(forward).parameters
    return (
        option in arguments
        or hasattr(forward, "__wrapped__")
        or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in arguments.values())
    )


def _padded(model: Model, rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    width = max(map(len, rows))
    table = [[*row, *[filler] * (width - len(row))] for row in rows]
    return torch.tensor(table, device=model.network.device)


def padding_id(model: Model, side: Side = "source") -> int:
    """Return the id to pad with: the tokenizer's, if the embedding has a row for it, otherwise 0.

    A padding token that was added to the tokenizer alone has no row. What fills the padding is
    never seen: the mask hides it.
    """
    pad = None if model.vocabulary is None else model.vocabulary.pad_token_id
    if pad is None or not 0 <= pad < vocabulary_size(model.network, side):
        return 0
    return int(pad)

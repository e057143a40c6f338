"""What a model reads in one forward pass: ids, pictures and sounds, checked and padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnviz.attention import FEATURES
from attnviz.errors import InputError, TextTooLong
from attnviz.models.loading import Model

__all__ = [
    "Encoded",
    "check_encoded",
    "check_reads",
    "encode_inputs",
    "model_inputs",
    "source_inputs",
]

SENSES = {"input_ids": "a text", "pixel_values": "a picture", "input_features": "a sound"}


@dataclass(frozen=True)
class Encoded:
    """What one forward pass reads: a text as ids, and pictures or sounds as numbers.

    Attributes:
        ids: the text the model reads; for an encoder-decoder, the encoder's side. Empty for a
            model that reads pictures or sounds only.
        segments: 0 or 1 per token where the model takes sentence pairs.
        target: the decoder's ids, begin token included; None for a one-stack model.
        closing: the token that ends the target: predicted by its last position, never read.
        cut: how many tokens did not fit and were left out (only when cutting was allowed).
        features: pictures ("pixel_values": [channel, height, width]) and sounds
            ("input_features": [mel bin, frame]), where the model reads them.
    """

    ids: tuple[int, ...] = ()
    segments: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None
    closing: int | None = None
    cut: int = 0
    features: Mapping[str, Tensor] = field(default_factory=dict, hash=False)

    def __eq__(self, other: object) -> bool:
        """Equal ids, and pictures and sounds that hold the same numbers."""
        if not isinstance(other, Encoded):
            return NotImplemented
        mine, theirs = self.features, other.features
        texts = [(one.ids, one.segments, one.target, one.closing, one.cut) for one in (self, other)]
        return (
            texts[0] == texts[1]
            and mine.keys() == theirs.keys()
            and all(torch.equal(values, theirs[name]) for name, values in mine.items())
        )


def encode_inputs(model: Model, inputs: Mapping[str, Tensor]) -> Encoded:
    """One example's arguments, as its processor makes them, taken apart; padding is left out.

    Raises:
        InputError: other arguments than the model reads, or more than one example.
    """
    texts = ("input_ids", "attention_mask") if "input_ids" in model.sites.reads else ()
    targets = ("decoder_input_ids",) if model.info.family == "encoder-decoder" else ()
    allowed = {*model.sites.reads, *texts, *targets}
    unknown = sorted(set(inputs) - allowed)
    if unknown:
        raise InputError(
            f"{model.info.name} does not read {', '.join(unknown)}; it reads "
            + ", ".join(sorted(allowed))
        )
    check_reads(model, tuple(inputs))
    arguments = {name: torch.as_tensor(values) for name, values in inputs.items()}
    for name, values in arguments.items():
        if values.dim() < 2 or values.shape[0] != 1:
            raise InputError(
                f"a capture is of one input at a time: '{name}' should have a first axis of "
                f"length 1, and its shape is {tuple(values.shape)}"
            )
    ids: list[int] = []
    if "input_ids" in arguments:
        ids = arguments["input_ids"][0].tolist()
    if "attention_mask" in arguments:
        real = arguments["attention_mask"][0].bool().tolist()
        if len(real) != len(ids) or not all(real[: sum(real)]):
            raise InputError("padding belongs behind the text, as many flags as there are ids")
        ids = ids[: sum(real)]
    target = arguments.get("decoder_input_ids")
    return Encoded(
        tuple(ids),
        target=None if target is None else tuple(target[0].tolist()),
        features={
            # A copy: what becomes of the picture later must not change what was captured.
            name: arguments[name][0].detach().clone()
            for name in FEATURES
            if name in arguments
        },
    )


def check_reads(model: Model, given: Sequence[str]) -> None:
    """Refuse a run that lacks something the model has to read."""
    missing = [name for name in model.sites.reads if name not in given]
    if missing:
        raise InputError(
            f"{model.info.name} cannot run without "
            + " and ".join(f"{SENSES[name]} ({name})" for name in missing)
            + "; in Python, capture it with attnviz.capture_inputs(model, {"
            + ", ".join(f"'{name}': tensor" for name in model.sites.reads)
            + "})"
        )


def check_encoded(model: Model, encoded: Sequence[Encoded]) -> None:
    """Refuse what would read beyond an embedding: on a GPU that ends the process for everyone."""
    info = model.info
    for one in encoded:
        _check_features(model, one)
        sides = [one.ids] if "input_ids" in model.sites.reads else []
        sides += [] if one.target is None else [one.target]
        words = _vocabulary_size(model) if sides else 0
        for ids in sides:
            if not ids:
                raise InputError("a text without any token cannot be captured")
            if not 0 <= min(ids) <= max(ids) < words:
                raise InputError(
                    f"token ids go from {min(ids)} to {max(ids)}, but {info.name} knows those from "
                    f"0 to {words - 1}; is this the tokenizer it was trained with?"
                )
            if info.max_tokens is not None and len(ids) > info.max_tokens:
                raise TextTooLong(
                    f"this text has {len(ids)} tokens, and {info.name} has room for "
                    f"{info.max_tokens}",
                    tokens=len(ids),
                    limit=info.max_tokens,
                )


def _vocabulary_size(model: Model) -> int:
    network = model.network
    try:
        return int(network.get_input_embeddings().weight.shape[0])
    except NotImplementedError:  # the library cannot say which of two towers is meant
        return int(network.text_model.get_input_embeddings().weight.shape[0])


def _check_features(model: Model, encoded: Encoded) -> None:
    """Refuse pictures and sounds that are missing, or hold what is no number."""
    given = ("input_ids", *encoded.features)
    check_reads(model, given)
    for name, values in encoded.features.items():
        if name not in model.sites.reads:
            raise InputError(f"{model.info.name} does not read {name}")
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise InputError(
                f"'{name}' should be finite floats, as the model's processor makes them, and is "
                f"{str(values.dtype).removeprefix('torch.')}"
                + ("" if not values.is_floating_point() else " with NaN or infinities in it")
            )


def model_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """The model's arguments for a batch, padded on the right."""
    inputs = source_inputs(model, encoded)
    segments = [one.segments for one in encoded if one.segments is not None]
    if len(segments) == len(encoded) and getattr(model.network.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = _padded(model, segments, 0)
    targets = [one.target for one in encoded if one.target is not None]
    if model.info.family == "encoder-decoder":
        if len(targets) != len(encoded):
            raise InputError(f"{model.info.name} needs a target for each of {len(encoded)} texts")
        inputs["decoder_input_ids"] = _padded(model, targets, _pad(model))
        inputs["decoder_attention_mask"] = _padded(model, [[1] * len(one) for one in targets], 0)
    return inputs


def source_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Any]:
    """What the model reads, without what its decoder has written."""
    inputs: dict[str, Any] = {}
    if "input_ids" in model.sites.reads:
        inputs["input_ids"] = _padded(model, [one.ids for one in encoded], _pad(model))
        inputs["attention_mask"] = _padded(model, [[1] * len(one.ids) for one in encoded], 0)
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


def _padded(model: Model, rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    width = max(map(len, rows))
    table = [[*row, *[filler] * (width - len(row))] for row in rows]
    return torch.tensor(table, device=model.network.device)


def _pad(model: Model) -> int:
    return 0 if model.vocabulary is None else int(model.vocabulary.pad_token_id or 0)

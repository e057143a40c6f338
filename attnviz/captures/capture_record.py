"""Capture of one input, made from the record of a batch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import AttentionStack, Layer, Recorder
from attnviz.attention.input_recorder import SEEN
from attnviz.errors import CaptureError
from attnviz.models import (
    Encoded,
    Model,
    describe_features,
    feature_tokens,
    labels,
    read_logits,
    tokenizing,
    tokens,
)
from attnviz.types import Kind, ModelInfo, Prediction, Tokens

__all__ = ["Capture", "capture_of"]


@dataclass(frozen=True)
class Capture:
    """Attention of a model while it read one text, picture or sound.

    `capture["self"]` is the stack of a one-stack model; an encoder-decoder has "encoder",
    "decoder" and "cross", a model of two towers (CLIP) "image" and "text".

    Attributes:
        model: the model it was taken from.
        stacks: attention by kind.
        text: what was read, as it was given; a few words about it where it was no text.
        target_text: what the decoder wrote, was given, or reads of the text itself (a classifier);
            None for a one-stack model.
        generated: whether the model wrote the target itself.
        cut: how many tokens were left out because the model has no room for them.
        predictions: per position (decoder positions for an encoder-decoder) the likeliest tokens:
            the next token for a decoder, the token itself for an encoder; empty when not kept.
        inputs: the ids that were run, from which the same run can be made again.
        losses: -ln of the probability of the token that came, at the position that predicts it,
            nats; NaN where nothing came after, and for encoders.
    """

    model: ModelInfo
    stacks: Mapping[Kind, AttentionStack]
    text: str
    target_text: str | None
    generated: bool
    cut: int
    predictions: tuple[Prediction, ...]
    losses: Float[np.ndarray, " position"]
    inputs: Encoded
    _model: weakref.ref[Model]

    def loaded_model(self) -> Model:
        """Return the model itself, while it is still in memory.

        A capture alone does not keep it there.

        Raises:
            CaptureError: the model has been released.
        """
        model = self._model()
        if model is None:
            raise CaptureError(
                f"{self.model.name} is no longer in memory; keep the loaded model while you need it"
            )
        return model

    def on_host(self) -> Capture:
        """Return the same capture in the host's memory instead of that of the model's device."""
        return replace(self, stacks={kind: stack.on_host() for kind, stack in self.stacks.items()})

    def __getitem__(self, kind: Kind) -> AttentionStack:
        if kind not in self.stacks:
            raise CaptureError(
                f"this capture of {self.model.name} has no '{kind}' attention; it has "
                + ", ".join(f"'{name}'" for name in self.stacks)
            )
        return self.stacks[kind]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self.stacks)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was changed on the way from the text to the ids."""
        return self.inputs.notes

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of attention this capture has, in the order the model runs them."""
        return tuple(self.stacks)


def capture_of(
    model: Model,
    encoded: Encoded,
    number: int,
    recorder: Recorder,
    *,
    logits: Tensor | None,
    text: str | None,
    generated: bool,
) -> Capture:
    """Return one text's capture out of a recorded batch.

    Args:
        model: what ran.
        encoded: what it read.
        number: which text of the batch this is.
        recorder: what it recorded.
        logits: of this text, where predictions are kept.
        text: what to call it; the decoded ids when None.
        generated: whether the model wrote the target.
    """
    sides = _sides(model, encoded, recorder)
    stacks = {
        kind: AttentionStack(
            kind,
            *sides[kind],
            tuple(
                Layer.of(record, number, len(sides[kind][0]), len(sides[kind][1]))
                for record in recorder.layers[kind]
            ),
        )
        for kind in model.sites.heads
    }
    written = encoded.ids if encoded.target is None else encoded.target
    losses = np.full(len(written), math.nan, np.float32)
    predictions: tuple[Prediction, ...] = ()
    if logits is not None:
        shifted = model.info.family != "encoder"
        came = written if encoded.closing is None else (*written, encoded.closing)
        predictions, losses = read_logits(model, logits[: len(written)], came, shifted)
    return Capture(
        model=model.info,
        stacks=stacks,
        text=text if text is not None else _described(model, encoded),
        target_text=None if encoded.target is None else _decoded(model, encoded.target),
        generated=generated,
        cut=encoded.cut,
        predictions=predictions,
        losses=losses,
        inputs=encoded,
        _model=weakref.ref(model),
    )


def _sides(model: Model, encoded: Encoded, recorder: Recorder) -> dict[Kind, tuple[Tokens, Tokens]]:
    """Return the tokens of the queries and of the keys, per kind."""
    sides: dict[Kind, tuple[Tokens, Tokens]] = {}
    source = words = tokens(model.vocabulary, encoded.ids, encoded.segments)
    for name, values in encoded.features.items():
        for kind in SEEN:
            if kind in recorder.layers:
                positions = recorder.ids[kind].shape[-1]
                source = feature_tokens(model.network.config, name, values, positions)
    for kind in SEEN:
        sides[kind] = (source, source)
    sides["text"] = (words, words)
    if encoded.target is not None:
        target = tokens(model.vocabulary, encoded.target)
        sides["decoder"] = (target, target)
        sides["cross"] = (target, source)
    return sides


def _decoded(model: Model, ids: Sequence[int]) -> str:
    if model.vocabulary is None:
        return " ".join(labels(None, ids))
    with tokenizing(model.info.name):
        return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def _described(model: Model, encoded: Encoded) -> str:
    """Return a description of the input for captures without one."""
    parts = [describe_features(name, values) for name, values in encoded.features.items()]
    if encoded.ids:
        parts.append(_decoded(model, encoded.ids))
    return ", ".join(parts)

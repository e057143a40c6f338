"""One forward pass, recorded: a text, a picture or a sound in, every head's attention out."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import AttentionStack, Keep, Layer, Recorder, listening
from attnviz.attention.recording import SEEN, InputRecorder
from attnviz.errors import CaptureError, InputError
from attnviz.models import (
    Encoded,
    Model,
    check_encoded,
    check_reads,
    closed,
    describe_features,
    encode,
    encode_inputs,
    feature_tokens,
    labels,
    model_inputs,
    read_logits,
    target_ids,
    tokens,
    with_target,
    wrong_sizes_explained,
)
from attnviz.types import Kind, ModelInfo, Prediction, Tokens

__all__ = [
    "Capture",
    "Encoded",
    "capture",
    "capture_ids",
    "capture_inputs",
    "capture_many",
    "encode",
    "model_inputs",
]


@dataclass(frozen=True)
class Capture:
    """What attention did while a model read one text, picture or sound.

    `capture["self"]` is the stack of a one-stack model; an encoder-decoder has "encoder",
    "decoder" and "cross", a model of two towers (CLIP) "image" and "text".

    Attributes:
        model: the model it was taken from.
        stacks: attention by kind.
        text: what was read, as it was given; a few words about it where it was no text.
        target_text: what the decoder wrote or was given; None for a one-stack model.
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
        """The model itself, while it is still in memory; a capture alone does not keep it there.

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
        """The same capture in the host's memory. Until asked, vectors stay where the model runs."""
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
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of attention this capture has, in the order the model runs them."""
        return tuple(self.stacks)


def capture(
    model: Model,
    text: str,
    *,
    pair: str | None = None,
    target: str | None = None,
    keep: Keep = "qkv",
    begin: bool | None = None,
    cut: bool = False,
    limit: int | None = None,
    predict: bool = True,
) -> Capture:
    """Run a model over a text and keep its attention.

    Args:
        model: from `attnviz.load`.
        text: what to read.
        pair: a second sentence, for models trained on pairs (BERT).
        target: what the decoder is to write, for encoder-decoders; the model's own greedy output
            when None.
        keep: "qkv" keeps queries, keys and values, so that every weight can be had; "statistics"
            keeps a dozen numbers per row: about a tenth of the memory, whatever the length.
        begin: start a decoder's text with its begin token. By default it does where there is one:
            that is what the model was trained to see, and where sinks sit.
        cut: leave out what exceeds the model's limit instead of refusing; `Capture.cut` says how
            many tokens that was.
        limit: a number of tokens to stop at before the model's own limit.
        predict: keep predictions and losses, where the model's language head was trained;
            without them it is not needed.

    Raises:
        EmptyText: nothing but white space.
        TextTooLong: more tokens than the model has positions, and `cut` is False.
        InputError: `pair` or `target` for a model that takes none, or no target for one that
            cannot write.
    """
    check_reads(model, ("input_ids",))
    encoded = encode(model, text, pair=pair, target=target, begin=begin, cut=cut, limit=limit)
    generated = encoded.target is None and model.info.family == "encoder-decoder"
    if generated:
        encoded = with_target(model, encoded)
    shown = text if pair is None else f"{text}\n{pair}"
    return capture_ids(
        model, [encoded], texts=[shown], generated=generated, keep=keep, predict=predict
    )[0]


def capture_inputs(
    model: Model,
    inputs: Mapping[str, Tensor],
    *,
    target: str | None = None,
    keep: Keep = "qkv",
    predict: bool = True,
) -> Capture:
    """Run a model over a picture, a sound, or a picture and a text, and keep its attention.

    The positions of a picture are its patches (`patch 3,4`: row and column from the top left,
    from zero), with `[CLS]` where the model adds one; those of a sound are moments (`0.02 s`).

    Args:
        model: from `attnviz.load`.
        inputs: the model's arguments as its processor makes them, for one picture, sound or text:
            "pixel_values" [1, channel, height, width] for ViT, the same with "input_ids" and
            "attention_mask" for CLIP, "input_features" [1, mel bin, frame] for Whisper, which also
            takes "decoder_input_ids".
        target: what the decoder is to write, in place of "decoder_input_ids"; the model's own
            greedy output without either.
        keep: as for `capture`.
        predict: as for `capture`.

    Raises:
        InputError: other arguments than the model reads, more than one picture or sound at a
            time, or sizes that it was not made for.
        TextTooLong: as for `capture`.
    """
    encoded = encode_inputs(model, inputs)
    generated = False
    if target is not None:
        if model.info.family != "encoder-decoder" or encoded.target is not None:
            raise InputError(
                f"{model.info.name} writes one target: give decoder_input_ids or target, not both"
                if encoded.target is not None
                else f"{model.info.name} has no decoder that writes a target"
            )
        wanted, _ = target_ids(model, target, False, None)
        encoded = replace(encoded, **closed(model, wanted))
    elif encoded.target is None and model.info.family == "encoder-decoder":
        generated = True
        encoded = with_target(model, encoded)
    return capture_ids(model, [encoded], generated=generated, keep=keep, predict=predict)[0]


def capture_many(
    model: Model,
    texts: Sequence[str],
    *,
    keep: Keep = "statistics",
    begin: bool | None = None,
    cut: bool = False,
    batch: int = 16,
    predict: bool = False,
) -> Iterator[Capture]:
    """Captures of many texts, run in batches of similar length; yielded in the given order.

    Arguments and errors as for `capture`; encoder-decoders generate their targets one by one.
    """
    check_reads(model, ("input_ids",))
    if model.info.family == "encoder-decoder":
        for text in texts:
            yield capture(model, text, keep=keep, begin=begin, cut=cut, predict=predict)
        return
    for start in range(0, len(texts), batch):
        part = list(texts[start : start + batch])
        encoded = [encode(model, text, begin=begin, cut=cut) for text in part]
        yield from capture_ids(model, encoded, texts=part, keep=keep, predict=predict)


def capture_ids(
    model: Model,
    encoded: Sequence[Encoded],
    *,
    texts: Sequence[str] | None = None,
    generated: bool = False,
    keep: Keep = "qkv",
    predict: bool = True,
) -> list[Capture]:
    """Captures of texts that are ids already, in one forward pass; shorter ones are padded.

    Args:
        model: from `attnviz.load`.
        encoded: from `encode`, or made by hand (random tokens).
        texts: what to call them; the decoded ids when None.
        generated: whether the targets were written by the model.
        keep: as for `capture`.
        predict: as for `capture`.

    Raises:
        InputError: an id outside the vocabulary, no ids at all, or an unknown `keep`.
        TextTooLong: more ids than the model has positions.
    """
    if keep not in get_args(Keep):
        raise InputError(f"a capture keeps 'qkv' or 'statistics', not {keep!r}")
    if not encoded:
        return []
    check_encoded(model, encoded)
    network, info = model.network, model.info
    predict = predict and model.predicts
    inputs = model_inputs(model, encoded)
    both = info.family == "encoder-decoder"
    recorder = InputRecorder.of(model.sites, inputs, keep)
    body = network if predict or both else network.base_model
    with torch.inference_mode(), listening(recorder), wrong_sizes_explained(model, encoded[0]):
        output = body(**inputs, use_cache=False) if info.family != "encoder" else body(**inputs)
    logits = getattr(output, "logits", None) if predict else None
    if logits is not None and logits.dim() < 3:
        logits = None  # one answer for the whole picture: no position predicts a word
    return [
        _one(
            model,
            one,
            number,
            recorder,
            None if logits is None else logits[number],
            None if texts is None else texts[number],
            generated,
        )
        for number, one in enumerate(encoded)
    ]


def _one(
    model: Model,
    encoded: Encoded,
    number: int,
    recorder: Recorder,
    logits: Tensor | None,
    text: str | None,
    generated: bool,
) -> Capture:
    """One text's capture out of a recorded batch."""
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
    """The tokens of the queries and of the keys, per kind."""
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
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def _described(model: Model, encoded: Encoded) -> str:
    """What was read, where nobody has said it."""
    parts = [describe_features(name, values) for name, values in encoded.features.items()]
    if encoded.ids:
        parts.append(_decoded(model, encoded.ids))
    return ", ".join(parts)

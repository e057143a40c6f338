"""Recorded forward pass: a text, a picture or a sound in, every head's attention out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from attnviz.attention import Keep, body_of, listening
from attnviz.attention.input_recorder import InputRecorder
from attnviz.captures.capture_record import Capture, capture_of
from attnviz.errors import InputError
from attnviz.models import (
    Encoded,
    Model,
    call_options,
    check_encoded,
    check_reads,
    closed,
    encode,
    encode_inputs,
    model_inputs,
    target_ids,
    with_target,
    writes,
    wrong_sizes_explained,
)

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
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    """Run a model on a text and record its attention.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> capture = attnviz.capture(model, "The cat sat on the mat.")
    >>> capture.kinds
    ('self',)
    >>> layers, heads, queries, keys = capture["self"].shape
    >>> queries == keys == len(capture["self"].query_tokens)
    True

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
        progress: callback after each layer, with the layers done and all layers. What it raises
            ends the capture, and is passed on.

    Raises:
        EmptyText: nothing but white space.
        TextTooLong: more tokens than the model has positions, and `cut` is False.
        InputError: `pair` or `target` for a model that takes none, or no target for one that
            cannot write.
    """
    check_reads(model, ("input_ids",))
    encoded = encode(model, text, pair=pair, target=target, begin=begin, cut=cut, limit=limit)
    generated = False
    if encoded.target is None and model.info.family == "encoder-decoder":
        generated = writes(model)
        encoded = with_target(model, encoded)
    shown = text if pair is None else f"{text}\n{pair}"
    return capture_ids(
        model,
        [encoded],
        texts=[shown],
        generated=generated,
        keep=keep,
        predict=predict,
        progress=progress,
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
        generated = writes(model)
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
    """Yield captures of many texts in the given order; batches hold texts of similar length.

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
    progress: Callable[[int, int], None] | None = None,
) -> list[Capture]:
    """Return captures of texts given as ids, in one forward pass; shorter ones are padded.

    Args:
        model: from `attnviz.load`.
        encoded: from `encode`, or made by hand (random tokens).
        texts: what to call them; the decoded ids when None.
        generated: whether the targets were written by the model.
        keep: as for `capture`.
        predict: as for `capture`.
        progress: as for `capture`.

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
    layers = sum(count for count, _ in info.heads.values())
    report = None if progress is None else lambda done: progress(done, layers)
    body = network if predict else body_of(network)
    options = call_options(model, body)
    with torch.inference_mode(), wrong_sizes_explained(model, encoded[0]):
        while True:
            recorder = InputRecorder.of(model.sites, inputs, keep, report)
            with listening(recorder):
                output = body(**inputs, **options)
            inaccurate = recorder.inaccurate()
            if not inaccurate:
                break
            model.sites.by_blocks.update(inaccurate)
            del recorder, output  # or both passes would be in memory
    logits = getattr(output, "logits", None) if predict else None
    if logits is not None and logits.dim() < 3:
        logits = None  # one answer for the whole picture: no position predicts a word
    return [
        capture_of(
            model,
            one,
            number,
            recorder,
            logits=None if logits is None else logits[number],
            text=None if texts is None else texts[number],
            generated=generated,
        )
        for number, one in enumerate(encoded)
    ]

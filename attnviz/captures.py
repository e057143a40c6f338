"""One forward pass, recorded: a text, a picture or a sound in, every head's attention out."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import BatchEncoding

from attnviz.attention import FEATURES, AttentionStack, Keep, Layer, Recorder, listening
from attnviz.attention.recorder import Call
from attnviz.attention.rows import RowObserver
from attnviz.errors import CaptureError, EmptyText, InputError, TextTooLong
from attnviz.models import Model, describe_features, feature_tokens, labels, tokens
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

CANDIDATES = 5  # predictions kept per position
GENERATED_TOKENS = 64  # longest target that is generated when none is given
LOGIT_ROWS = 256  # positions whose probabilities over the vocabulary exist at a time
SEEN: tuple[Kind, ...] = ("self", "encoder", "image")  # what a picture or a sound goes through
SENSES = {"input_ids": "a text", "pixel_values": "a picture", "input_features": "a sound"}
PROMPT_ROOM = 8  # positions kept free for what Whisper puts before a target: language, task, times


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
    features: Mapping[str, Tensor] = field(default_factory=dict, compare=False)


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
    _check_reads(model, ("input_ids",))
    encoded = encode(model, text, pair=pair, target=target, begin=begin, cut=cut, limit=limit)
    generated = encoded.target is None and model.info.family == "encoder-decoder"
    if generated:
        encoded = _with_target(model, encoded)
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
    encoded = _encoded_inputs(model, inputs)
    generated = False
    if target is not None:
        if model.info.family != "encoder-decoder" or encoded.target is not None:
            raise InputError(
                f"{model.info.name} writes one target: give decoder_input_ids or target, not both"
                if encoded.target is not None
                else f"{model.info.name} has no decoder that writes a target"
            )
        wanted, _ = _target_ids(model, target, False, None)
        encoded = replace(encoded, **_closed(model, wanted))
    elif encoded.target is None and model.info.family == "encoder-decoder":
        generated = True
        encoded = _with_target(model, encoded)
    return capture_ids(model, [encoded], generated=generated, keep=keep, predict=predict)[0]


def _encoded_inputs(model: Model, inputs: Mapping[str, Tensor]) -> Encoded:
    """One example's arguments, taken apart."""
    texts = ("input_ids", "attention_mask") if "input_ids" in model.sites.reads else ()
    targets = ("decoder_input_ids",) if model.info.family == "encoder-decoder" else ()
    allowed = {*model.sites.reads, *texts, *targets}
    unknown = sorted(set(inputs) - allowed)
    if unknown:
        raise InputError(
            f"{model.info.name} does not read {', '.join(unknown)}; it reads "
            + ", ".join(sorted(allowed))
        )
    _check_reads(model, tuple(inputs))
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
        features={name: arguments[name][0] for name in FEATURES if name in arguments},
    )


def _check_reads(model: Model, given: Sequence[str]) -> None:
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
    _check_reads(model, ("input_ids",))
    if model.info.family == "encoder-decoder":
        for text in texts:
            yield capture(model, text, keep=keep, begin=begin, cut=cut, predict=predict)
        return
    for start in range(0, len(texts), batch):
        part = list(texts[start : start + batch])
        encoded = [encode(model, text, begin=begin, cut=cut) for text in part]
        yield from capture_ids(model, encoded, texts=part, keep=keep, predict=predict)


def encode(
    model: Model,
    text: str,
    *,
    pair: str | None = None,
    target: str | None = None,
    begin: bool | None = None,
    cut: bool = False,
    limit: int | None = None,
) -> Encoded:
    """A text as the ids a model reads, with its special tokens. Arguments as for `capture`."""
    tokenizer, info = model.tokenizer, model.info
    if not text.strip():
        raise EmptyText("there is no text; type at least one word")
    if pair is not None and not pair.strip():
        pair = None
    if pair is not None and info.family != "encoder":
        raise InputError(
            f"{info.name} reads one text; a second sentence is for encoders such as BERT"
        )
    if target is not None and info.family != "encoder-decoder":
        raise InputError(
            f"{info.name} has no decoder that writes a target; that is for models such as T5"
        )
    for part in (text, pair or ""):
        _check_characters(part)
    # The tokenizer warns on its own about long texts; the limit is checked and explained below.
    made = tokenizer(text, pair, verbose=False)
    ids: list[int] = list(made["input_ids"])
    segments = made.get("token_type_ids") if info.family == "encoder" else None
    if info.family == "decoder":
        start = tokenizer.bos_token_id
        if begin is None or begin:
            if start is not None and ids[:1] != [start]:
                ids = [start, *ids]
        elif ids[:1] == [start]:
            ids = ids[1:]
    if not ids:
        raise EmptyText("nothing of this text is left after tokenisation; type at least one word")
    room = min(limit or len(ids), info.max_tokens or len(ids))
    excess = len(ids) - room
    if excess > 0:
        if not cut:
            raise TextTooLong(
                f"this text has {len(ids)} tokens, and {info.name} has room for "
                f"{room}; shorten it by {excess} tokens, or cut it there",
                tokens=len(ids),
                limit=room,
            )
        stay = _staying(model, ids, made, room)
        ids = [ids[place] for place in stay]
        segments = None if segments is None else [segments[place] for place in stay]
    encoded = Encoded(tuple(ids), None if segments is None else tuple(segments), cut=max(excess, 0))
    if target is None:
        return encoded
    wanted, left_out = _target_ids(model, target, cut, limit)
    return replace(encoded, **_closed(model, wanted), cut=encoded.cut + left_out)


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds half a character at position {error.start} (a surrogate without its "
            "other half); read the file it comes from with its right encoding"
        ) from error


def _closed(model: Model, ids: Sequence[int]) -> dict[str, Any]:
    """The decoder's ids without the token that ends them, and that token."""
    if len(ids) > 1 and ids[-1] == model.tokenizer.eos_token_id:
        return {"target": tuple(ids[:-1]), "closing": int(ids[-1])}
    return {"target": tuple(ids), "closing": None}


def _staying(model: Model, ids: list[int], made: BatchEncoding, room: int) -> list[int]:
    """The places of the tokens that stay of a text that is too long.

    The longer sentence gives its last token until both fit; special tokens stay. Worked out here,
    because a tokenizer that truncates remembers it, and other people's texts go through it too.
    """
    if model.info.family == "decoder":
        return list(range(room))
    if made.is_fast:
        sentence = made.sequence_ids(0)
    else:
        special = set(model.tokenizer.all_special_ids)
        sentence = [None if number in special else 0 for number in ids]
    first, second = ([at for at, one in enumerate(sentence) if one == part] for part in (0, 1))
    for _ in range(len(ids) - room):
        longer = first if len(first) >= len(second) else second
        if longer:
            longer.pop()
    added = [at for at, one in enumerate(sentence) if one is None]
    return sorted(added + first + second)[:room]


def _decoder_start(model: Model) -> int:
    config = model.network.config
    start = config.decoder_start_token_id
    if start is None:
        start = getattr(model.network.generation_config, "decoder_start_token_id", None)
    if start is None:
        start = config.pad_token_id
    if start is None:
        raise InputError(f"{model.info.name} does not say with which token its decoder starts")
    return int(start)


def _target_ids(
    model: Model, target: str, cut: bool, limit: int | None
) -> tuple[tuple[int, ...], int]:
    """The decoder's ids for a wanted output: the start token, the text, the end token."""
    if not target.strip():
        raise EmptyText("the target text is empty; type one, or let the model write it")
    _check_characters(target)
    made = model.tokenizer(text_target=target, verbose=False)["input_ids"]
    start = _decoder_start(model)
    ids = made if made[:1] == [start] else [start, *made]  # Whisper's tokenizer has put it there
    room = min(limit or len(ids), model.info.max_tokens or len(ids))
    excess = len(ids) - room
    if excess > 0 and not cut:
        raise TextTooLong(
            f"the target has {len(ids)} tokens, and {model.info.name} has room for "
            f"{room}; shorten it by {excess} tokens",
            tokens=len(ids),
            limit=room,
        )
    return tuple(ids[:room]), max(excess, 0)


def _with_target(model: Model, encoded: Encoded) -> Encoded:
    """The same input with the target that the model itself writes."""
    if not model.predicts:
        raise InputError(
            f"{model.info.name} has no trained language head that could write a target; give one"
        )
    return replace(encoded, **_closed(model, _generate(model, encoded)))


def _generate(model: Model, encoded: Encoded) -> tuple[int, ...]:
    """What the model itself writes for this input, greedily; start token included."""
    inputs = _source_inputs(model, [encoded])
    room = min(GENERATED_TOKENS, (model.info.max_tokens or GENERATED_TOKENS) - 1)
    if "input_features" in inputs:  # Whisper cuts long sounds in pieces, unless it is told not to
        inputs["force_unique_generate_call"] = True
        room = max(min(room, (model.info.max_tokens or GENERATED_TOKENS) - PROMPT_ROOM), 1)
    # The library sizes its cache by the encoder's depth, and a deeper decoder overruns it.
    cache = model.info.heads["decoder"][0] <= model.info.heads["encoder"][0]
    with torch.inference_mode(), _wrong_sizes_explained(model, encoded):
        written = model.network.generate(
            **inputs,
            max_new_tokens=room,
            num_beams=1,
            do_sample=False,
            use_cache=cache,
        )
    return tuple(written[0].tolist())


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
    _check_ids(model, encoded)
    network, info = model.network, model.info
    predict = predict and model.predicts
    inputs = model_inputs(model, encoded)
    both = info.family == "encoder-decoder"
    recorder = _Recorder(
        model.sites.kinds, model.sites.names, _ids(model, inputs), keep, _real_queries(inputs)
    )
    body = network if predict or both else network.base_model
    with torch.inference_mode(), listening(recorder), _wrong_sizes_explained(model, encoded[0]):
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


def _check_ids(model: Model, encoded: Sequence[Encoded]) -> None:
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
    _check_reads(model, given)
    for name, values in encoded.features.items():
        if name not in model.sites.reads:
            raise InputError(f"{model.info.name} does not read {name}")
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise InputError(
                f"'{name}' should be finite floats, as the model's processor makes them, and is "
                f"{str(values.dtype).removeprefix('torch.')}"
                + ("" if not values.is_floating_point() else " with NaN or infinities in it")
            )


@contextmanager
def _wrong_sizes_explained(model: Model, encoded: Encoded) -> Iterator[None]:
    """Whether another size can be read is the model's to know; what it says becomes a sentence."""
    given = {name: tuple(values.shape) for name, values in encoded.features.items()}
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if all(given[name] == size for name, size in model.sites.sizes.items()):
            raise
        made = ", ".join(f"{name} of {size}" for name, size in model.sites.sizes.items())
        held = ", ".join(f"{name} of {size}" for name, size in given.items())
        raise InputError(
            f"{model.info.name} was made for {made}, and this input holds {held}: {error}"
        ) from error


def model_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """The model's arguments for a batch, padded on the right."""
    inputs = _source_inputs(model, encoded)
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


def _source_inputs(model: Model, encoded: Sequence[Encoded]) -> dict[str, Any]:
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


def _ids(model: Model, inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """The ids of each kind whose queries and keys are one text."""
    ids: dict[Kind, Tensor] = {}
    if "input_ids" in inputs:
        two_towers = len(model.sites.reads) > 1
        kinds: tuple[Kind, ...] = ("text",) if two_towers else ("self", "encoder")
        ids = dict.fromkeys(kinds, inputs["input_ids"])
    if "decoder_input_ids" in inputs:
        ids["decoder"] = inputs["decoder_input_ids"]
    return ids


class _Recorder(Recorder):
    """A recorder that also knows positions which are no words, once it has seen how many."""

    def begin(self, call: Call) -> RowObserver | None:
        """Number the positions of a picture or sound: none is a copy of another."""
        kind = self.kinds.get(id(call.module))
        if kind in SEEN and kind not in self.ids:
            batch, _, positions, _ = call.query.shape
            numbers = torch.arange(positions, device=call.query.device).expand(batch, -1)
            self.ids = {**self.ids, kind: numbers}
        return super().begin(call)


def _real_queries(inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """Which queries of a batch are no padding; nothing for a side without padding."""
    sides: dict[str, tuple[Kind, ...]] = {
        "attention_mask": ("self", "encoder", "text"),
        "decoder_attention_mask": ("decoder", "cross"),
    }
    return {
        kind: inputs[name].bool()
        for name, kinds in sides.items()
        if name in inputs and not bool(inputs[name].all())
        for kind in kinds
    }


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
                Layer.of(record, number, len(sides[kind][0]), len(sides[kind][1]), host=True)
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
        predictions, losses = _read_logits(model, logits[: len(written)], came, shifted)
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


def _read_logits(
    model: Model, logits: Float[Tensor, "position vocabulary"], ids: Sequence[int], shifted: bool
) -> tuple[tuple[Prediction, ...], Float[np.ndarray, " position"]]:
    """The likeliest tokens per position, and what the tokens that came have cost."""
    found: list[Prediction] = []
    losses = np.full(len(logits), math.nan, np.float32)
    for start in range(0, len(logits), LOGIT_ROWS):
        part = logits[start : start + LOGIT_ROWS].float().log_softmax(-1)
        best = part.topk(min(CANDIDATES, part.shape[-1]), dim=-1)
        names = labels(model.vocabulary, best.indices.flatten().tolist())
        chances = best.values.exp().cpu().numpy()
        width = chances.shape[1]
        found += [
            Prediction(names[row * width : (row + 1) * width], chances[row])
            for row in range(len(chances))
        ]
        if shifted:
            came = torch.tensor(list(ids[start + 1 : start + 1 + len(part)]), device=part.device)
            cost = -part[: len(came)].gather(-1, came[:, None])[:, 0]
            losses[start : start + len(came)] = cost.cpu().numpy()
    return tuple(found), losses

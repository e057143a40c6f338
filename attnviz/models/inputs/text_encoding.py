"""Encoding of a text as ids: special tokens, sentence pairs, targets, and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import BatchEncoding

from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.models.inputs.model_inputs import Encoded
from attnviz.models.loading.described import side_config, vocabulary_size
from attnviz.models.loading.load import Model
from attnviz.models.loading.model_classes import reads_its_text_twice
from attnviz.models.tokenizers.marker_ids import marker_ids
from attnviz.models.tokenizers.token_labels import printable
from attnviz.models.tokenizers.tokenizer_errors import tokenizing

__all__ = ["closed", "decoder_start", "encode", "target_ids"]

Sentence = int | None
"""The text of a pair that a token comes from, 0 or 1; None for a token the tokenizer added."""


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
    """Return a text as the ids a model reads, with its special tokens.

    Arguments and errors as for `capture`.
    """
    tokenizer, info = model.tokenizer, model.info
    if not text.strip():
        raise EmptyText("there is no text; type at least one word or choose an example")
    if pair is not None and not pair.strip():
        pair = None
    classifies = reads_its_text_twice(model.network)
    if pair is not None and info.family != "encoder" and not classifies:
        raise InputError(
            f"{info.name} reads one text; a second sentence is for encoders such as BERT"
        )
    if target is not None and classifies:
        raise InputError(f"the decoder of {info.name} reads the text itself; leave the target out")
    if target is not None and info.family != "encoder-decoder":
        raise InputError(
            f"{info.name} has no decoder that writes a target; that is for models such as T5"
        )
    for part in (text, pair or ""):
        _check_characters(part)
    # The tokenizer would warn about long texts; the limit is checked and explained below.
    with tokenizing(info.name):
        encoding = tokenizer(text, pair, verbose=False)
        ids: list[int] = list(encoding["input_ids"])
        sentences = _sentences(model, text, pair, ids, encoding)
    typed = encoding.get("token_type_ids") if info.family == "encoder" else None
    segments = _carried(sentences) if typed is None and pair is not None else typed
    notes: tuple[str, ...] = ()
    begun = _own_begin(model, text)
    added = begun is not None and _adds_begin(model, begun)
    if begun is not None and added and ids[:2] == [begun, begun]:
        ids, sentences = ids[1:], sentences[1:]
        segments = None if segments is None else segments[1:]
        notes = (_begun_once(model, begun),)
    if info.family == "decoder":
        start = tokenizer.bos_token_id
        if begin is False:
            ids = ids[1:] if ids[:1] == [start] else ids
        elif start is not None and ids[:1] != [start]:
            ids = [start, *ids]
        elif start is not None and begun == start and not added:
            notes = (_begun_once(model, start),)
    if not ids:
        raise EmptyText("nothing of this text is left after tokenisation; type at least one word")
    room = min(limit or len(ids), info.max_tokens or len(ids))
    excess = len(ids) - room
    if excess > 0:
        if not cut:
            raise TextTooLong(
                f"this text has {len(ids):,} tokens, and {info.name} has room for "
                f"{room:,}; shorten it by {excess:,} tokens, or cut it there",
                tokens=len(ids),
                limit=room,
            )
        stay = _staying(model, sentences, room)
        ids = [ids[place] for place in stay]
        segments = None if segments is None else [segments[place] for place in stay]
    encoded = Encoded(
        tuple(ids),
        None if segments is None else tuple(segments),
        cut=max(excess, 0),
        reads_segments=typed is not None,
        notes=notes,
    )
    if target is None:
        return encoded
    wanted, left_out = target_ids(model, target, cut, limit)
    return replace(encoded, **closed(model, wanted), cut=encoded.cut + left_out)


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds half a character at position {error.start} (a surrogate without its "
            "other half); read the file it comes from with its right encoding"
        ) from error


def _own_begin(model: Model, text: str) -> int | None:
    """Return the id of the begin token that the typed text starts with; None without one."""
    tokenizer = model.tokenizer
    for role in ("bos", "cls"):
        token = getattr(tokenizer, f"{role}_token", None)
        if token and text.lstrip().startswith(token):
            return int(getattr(tokenizer, f"{role}_token_id"))
    return None


def _adds_begin(model: Model, begun: int) -> bool:
    """Return whether the tokenizer itself puts this token before a text."""
    return bool(model.tokenizer("a", verbose=False)["input_ids"][:1] == [begun])


def _begun_once(model: Model, begun: int) -> str:
    token = printable(str(model.tokenizer.convert_ids_to_tokens(begun)))
    return f"the text already begins with {token}, so this token was not added again"


def _sentences(
    model: Model, text: str, pair: str | None, ids: Sequence[int], encoding: BatchEncoding
) -> list[Sentence]:
    """Return the text of the pair that each token comes from."""
    if encoding.is_fast:
        return list(encoding.sequence_ids(0))
    tokenizer = model.tokenizer
    parts = [
        list(tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"])
        for part in (text, pair)
        if part is not None
    ]
    added = tokenizer.get_special_tokens_mask(*parts)
    if len(added) != len(ids):  # the tokenizer does not say what it adds
        markers = marker_ids(tokenizer)
        added = [number in markers for number in ids]
    sentences: list[Sentence] = []
    ordinary = 0
    for one in added:
        sentences.append(None if one else int(ordinary >= len(parts[0])))
        ordinary += not one
    return sentences


def _carried(sentences: Sequence[Sentence]) -> list[int]:
    """Return a segment for every token: one that was added belongs to the text before it."""
    current, segments = 0, []
    for one in sentences:
        current = current if one is None else one
        segments.append(current)
    return segments


def end_ids(model: Model) -> frozenset[int]:
    """Return the ids that end a text, as the library's `generate` takes them."""
    ends = getattr(getattr(model.network, "generation_config", None), "eos_token_id", None)
    return frozenset(one for one in (ends if isinstance(ends, list) else [ends])
                     if isinstance(one, int))  # fmt: skip


def closed(model: Model, ids: Sequence[int]) -> dict[str, Any]:
    """Return the decoder's ids without the token that ends them, and that token."""
    ends: set[int | None] = set(end_ids(model))
    if model.vocabulary is not None:
        ends.add(model.vocabulary.eos_token_id)
    if len(ids) > 1 and ids[-1] is not None and ids[-1] in ends:
        return {"target": tuple(ids[:-1]), "closing": int(ids[-1])}
    return {"target": tuple(ids), "closing": None}


def _staying(model: Model, sentences: Sequence[Sentence], room: int) -> list[int]:
    """Return the places of the tokens that stay of a text that is too long.

    The longer sentence gives its last token until both fit; special tokens stay. Worked out here,
    because a tokenizer that truncates remembers it, and is shared by all captures.
    """
    if model.info.family == "decoder":
        return list(range(room))
    first, second = ([at for at, one in enumerate(sentences) if one == part] for part in (0, 1))
    for _ in range(len(sentences) - room):
        longer = first if len(first) >= len(second) else second
        if longer:
            longer.pop()
    added = [at for at, one in enumerate(sentences) if one is None]
    return sorted(added + first + second)[:room]


def decoder_start(model: Model) -> int:
    """Return the id with which a decoder's text begins.

    Raises:
        InputError: no configuration of the model names one that its embedding has.
    """
    network = model.network
    words = vocabulary_size(network, "target")
    generation = getattr(network, "generation_config", None)
    places = (generation, network.config, side_config(network.config, "target"))
    for role in ("decoder_start", "bos", "pad"):
        for place in places:
            number = getattr(place, f"{role}_token_id", None)
            if isinstance(number, int) and 0 <= number < words:
                return number
    raise InputError(
        f"{model.info.name} names no token with which its decoder starts; set "
        "decoder_start_token_id in its config.json"
    )


def target_ids(
    model: Model, target: str, cut: bool, limit: int | None
) -> tuple[tuple[int, ...], int]:
    """Return the decoder's ids for a wanted output, and how many tokens were cut.

    The ids are the start token, the text, the end token.
    """
    if not target.strip():
        raise EmptyText("the target text is empty; type one, or let the model write it")
    _check_characters(target)
    with tokenizing(model.info.name):
        encoded = model.tokenizer(text_target=target, verbose=False)["input_ids"]
    begun = _own_begin(model, target)
    if begun is not None and encoded[:2] == [begun, begun] and _adds_begin(model, begun):
        encoded = encoded[1:]
    start = decoder_start(model)
    # Whisper's tokenizer has put it there
    ids = encoded if encoded[:1] == [start] else [start, *encoded]
    room = min(limit or len(ids), model.info.max_target_tokens or len(ids))
    excess = len(ids) - room
    if excess > 0 and not cut:
        raise TextTooLong(
            f"the target has {len(ids):,} tokens, and {model.info.name} has room for "
            f"{room:,}; shorten it by {excess:,} tokens",
            tokens=len(ids),
            limit=room,
        )
    return tuple(ids[:room]), max(excess, 0)

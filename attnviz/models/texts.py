"""A text as the ids a model reads: special tokens, sentence pairs, targets, and what is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import BatchEncoding

from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.models.inputs import Encoded
from attnviz.models.loading import Model
from attnviz.models.tokenizing import tokenizing

__all__ = ["closed", "encode", "target_ids"]


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
    with tokenizing(info.name):
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


def closed(model: Model, ids: Sequence[int]) -> dict[str, Any]:
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


def target_ids(
    model: Model, target: str, cut: bool, limit: int | None
) -> tuple[tuple[int, ...], int]:
    """The decoder's ids for a wanted output: the start token, the text, the end token."""
    if not target.strip():
        raise EmptyText("the target text is empty; type one, or let the model write it")
    _check_characters(target)
    with tokenizing(model.info.name):
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

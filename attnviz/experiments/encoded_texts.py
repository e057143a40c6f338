"""Texts of a set as a model reads them, one after the other: prompts, windows and targets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.experiments.text_sets import TextSet, bundled
from attnviz.models import Encoded, Model, encode, tokenizing, with_target

__all__ = [
    "WINDOW_TOKENS",
    "EncodedText",
    "LongTexts",
    "encoded_texts",
    "translates",
    "usable_texts",
    "window_note",
]

LongTexts = Literal["windows", "refuse"]
"""What becomes of a text with more tokens than the model has positions."""

WINDOW_TOKENS = 512
"""Most tokens of a window, if the model has more positions: windows are the samples of the
bootstrap, whose intervals need many of them."""


@dataclass(frozen=True)
class EncodedText:
    """Text, or one window of a long text, as the model reads it.

    Attributes:
        number: index of the text in the set.
        source: the text or its part, without the model's prompt.
        target: text of the decoder as it was given; None where the model writes it.
        encoded: what the model reads.
    """

    number: int
    source: str
    target: str | None
    encoded: Encoded


def encoded_texts(
    model: Model, texts: TextSet, *, long: LongTexts = "windows"
) -> Iterator[EncodedText]:
    """Yield the texts of a set in their order, each encoded when it is its turn.

    Arguments and errors as for `attnviz.experiments.loss_examples.examples`.
    """
    if long not in ("windows", "refuse"):
        raise InputError(f"long texts are read in 'windows' or 'refuse'd, not {long!r}")
    if not texts.texts:
        raise EmptyText("there is no text to examine; give at least one, better thirty or more")
    both = model.info.family == "encoder-decoder"
    prompt = (translates(model) if both else model.prompt) or ""
    for number, text in enumerate(usable_texts(model, texts).texts):
        target = text.target if both else None
        try:
            pieces = _pieces(model, prompt, text.source, target, long)
        except TextTooLong as error:
            raise TextTooLong(
                f"text {number + 1} has {error.tokens} tokens, and {model.info.name} has room for "
                f"{error.limit}; shorten it, leave it out, or let long texts be read in windows",
                tokens=error.tokens,
                limit=error.limit,
            ) from error
        for source, encoded in pieces:
            yield EncodedText(number, source, target, _with_target(model, encoded))


def window_note(model: Model, texts: TextSet, numbers: Sequence[int]) -> str:
    """Return a sentence on the texts that were read in windows; empty if there are none.

    Args:
        model: that has read them.
        texts: the set.
        numbers: index of the text of each window.
    """
    split = sum(len(list(group)) > 1 for _, group in itertools.groupby(numbers))
    if not split:
        return ""
    return (
        f"{split} of {len(texts.texts)} texts had more tokens than are read at a time "
        f"({_room(model)}) and were read in windows; each window counts as a text"
    )


def translates(model: Model) -> str | None:
    """Return what the model was trained to see before English to be translated."""
    if model.prompt:
        return model.prompt
    tasks: dict[str, Any] = getattr(model.network.config, "task_specific_params", None) or {}
    prefix = tasks.get("translation_en_to_fr", {}).get("prefix")
    return prefix if isinstance(prefix, str) else None


def usable_texts(model: Model, texts: TextSet) -> TextSet:
    """Return the same set, without targets that this model was not trained to write."""
    if model.info.family != "encoder-decoder" or texts != bundled("encoder-decoder"):
        return texts
    if translates(model) is not None:
        return texts
    # The bundled targets are French; a model that summarises has other targets.
    return replace(texts, texts=tuple(replace(text, target=None) for text in texts.texts))


def _room(model: Model) -> int:
    return min(model.info.max_tokens or WINDOW_TOKENS, WINDOW_TOKENS)


def _pieces(
    model: Model, prompt: str, source: str, target: str | None, long: LongTexts
) -> list[tuple[str, Encoded]]:
    """Return a text and its ids; its parts where it has to be read in windows."""
    room = _room(model)
    try:
        limit = None if long == "refuse" else room
        return [(source, encode(model, prompt + source, target=target, limit=limit))]
    except TextTooLong:
        if long == "refuse":
            raise
    if target is not None:
        raise InputError(
            f"a text with a target has more tokens than {model.info.name} reads at a time "
            f"({room}). It cannot be read in windows, because it is unknown which part of the "
            "target belongs to which: shorten it, or leave the target out"
        )
    spare = len(encode(model, prompt + "a").ids) + 1  # special tokens and the prompt
    parts = _split(model.tokenizer, source, max(room - spare, 1))
    return [
        (part, encode(model, prompt + part, cut=True, limit=room)) for part in parts if part.strip()
    ]


def _split(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> list[str]:
    """Return a text in pieces of at most so many tokens, cut before a word where there is one."""
    if tokenizer.is_fast:
        with tokenizing("this model"):
            encoding = tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
        starts = [start for start, _ in encoding["offset_mapping"]]
    else:
        starts = list(range(len(text)))  # no token is shorter than a letter, but for rare bytes
    edges = [0]
    first = 0
    while first + tokens < len(starts):
        after = first + tokens
        early = first + max(tokens * 3 // 4, 1)
        words = [at for at in range(early, after + 1) if _begins_word(text, starts[at])]
        first = words[-1] if words else after
        edges.append(starts[first])
    edges.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def _begins_word(text: str, place: int) -> bool:
    """Return whether a token that starts here begins a word.

    It may bring the space before along.
    """
    return text[place].isspace() or (place > 0 and text[place - 1].isspace())


def _with_target(model: Model, encoded: Encoded) -> Encoded:
    """Return the same input with the target that the model writes itself, where it has none."""
    if model.info.family != "encoder-decoder" or encoded.target is not None:
        return encoded
    return with_target(model, encoded)

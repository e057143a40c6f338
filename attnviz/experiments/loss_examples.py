"""Set of texts as a model reads them, and the tokens that its loss is taken over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.experiments.text_sets import Text, TextSet, bundled
from attnviz.models import Encoded, Model, encode, tokenizing, with_target

__all__ = ["Example", "LongTexts", "Question", "batches", "examples", "translates"]

LongTexts = Literal["windows", "refuse"]
"""What becomes of a text with more tokens than the model has positions."""

WINDOW_TOKENS = 512
"""Longest window of a text, where the model has room for more: windows are texts of the bootstrap,
and few long ones would tell less than many short ones."""

MASK_SHARE = 0.15  # Devlin et al. 2019
MASKED_COPIES = 3
"""How often a text is masked, each time elsewhere: a short text has two or three masks in a copy,
too few to tell a head that matters from chance."""

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Question:
    """Run for the loss: ids, and the token that should be predicted at each position.

    Attributes:
        encoded: what the model reads.
        positions: of the logits (the decoder's, in an encoder-decoder).
        wanted: the id that belongs at each.
    """

    encoded: Encoded
    positions: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """Text, or one window of a long one.

    Attributes:
        number: which text of the set it comes from.
        encoded: as the model reads it when nothing is hidden; what attention is measured on.
        questions: what the loss is taken over: the text itself for a decoder, copies with masked
            words for an encoder, the target for an encoder-decoder. Empty where the model's
            language head was never trained, or cannot be used.
    """

    number: int
    encoded: Encoded
    questions: tuple[Question, ...] = ()

    @property
    def tokens(self) -> int:
        """Over how many tokens its loss is taken."""
        return sum(len(question.wanted) for question in self.questions)


def examples(
    model: Model, texts: TextSet, *, long: LongTexts = "windows", seed: int = 0
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """Return the texts as the model reads them, in their order, and notes on what was done to them.

    Causal language models predict every next token, masked ones (Devlin et al. 2019) for
    tokens hidden by the mask token, 15% at a time in three disjoint draws; encoder-decoders for the
    target that the set gives, or else for the one they write themselves, so that a loss change
    tells how much less likely the model finds the words that it wrote.

    Args:
        model: from `attnviz.load`.
        texts: from `attnviz.experiments.text_sets`.
        long: "windows" reads a text with more tokens than the model has positions in pieces, each
            of which counts as a text; "refuse" raises.
        seed: of the masks.

    Raises:
        TextTooLong: such a text, and `long` is "refuse".
        InputError: a text or target that the model cannot read, or an unknown `long`.
        EmptyText: the set holds no text.
    """
    if long not in ("windows", "refuse"):
        raise InputError(f"long texts are read in 'windows' or 'refuse'd, not {long!r}")
    if not texts.texts:
        raise EmptyText("there is no text to examine; give at least one, better thirty or more")
    texts = _usable(model, texts)
    both = model.info.family == "encoder-decoder"
    prompt = (translates(model) if both else model.prompt) or ""
    notes: list[str] = []
    found: list[Example] = []
    random = np.random.default_rng(seed)
    split = 0
    for number, text in enumerate(texts.texts):
        try:
            pieces = _pieces(model, prompt, text, long)
        except TextTooLong as error:
            raise TextTooLong(
                f"text {number + 1} has {error.tokens} tokens, and {model.info.name} has room for "
                f"{error.limit}; shorten it, leave it out, or let long texts be read in windows",
                tokens=error.tokens,
                limit=error.limit,
            ) from error
        split += len(pieces) > 1
        for encoded in pieces:
            ready = _with_target(model, encoded)
            asked = _questions(model, ready, random) if model.predicts else ()
            found.append(Example(number, ready, asked))
    if split:
        notes.append(
            f"{split} of {len(texts.texts)} texts had more tokens than are read at a time "
            f"({_room(model)}) and were read in windows; each window counts as a text"
        )
    if not model.predicts:
        notes.append(
            f"{model.info.name} has no trained language head: there is no loss, so no head could "
            "be tested by removing it"
        )
    elif not any(example.questions for example in found):
        notes.append(
            f"the tokenizer of {model.info.name} has no mask token: there is no loss, so no head "
            "could be tested by removing it"
        )
    elif both and not all(text.target for text in texts.texts):
        notes.append(
            f"where no target was given, the loss is that of what {model.info.name} writes itself"
        )
    return tuple(found), tuple(notes)


def batches(rows: Sequence[Encoded], tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Indices of rows to be run together: of similar length, `tokens` in all with their padding."""
    lengths = [max(len(row.ids), len(row.target or ())) for row in rows]
    chosen: list[int] = []
    for index in sorted(range(len(rows)), key=lambda one: (lengths[one], one)):
        if chosen and lengths[index] * (len(chosen) + 1) > tokens:
            yield chosen
            chosen = []
        chosen.append(index)
    if chosen:
        yield chosen


def translates(model: Model) -> str | None:
    """Return what the model was trained to see before English to be translated."""
    if model.prompt:
        return model.prompt
    tasks: dict[str, Any] = getattr(model.network.config, "task_specific_params", None) or {}
    prefix = tasks.get("translation_en_to_fr", {}).get("prefix")
    return prefix if isinstance(prefix, str) else None


def _usable(model: Model, texts: TextSet) -> TextSet:
    """Return the same set, without targets that this model was not trained to write."""
    if model.info.family != "encoder-decoder" or texts != bundled("encoder-decoder"):
        return texts
    if translates(model) is not None:
        return texts
    # The bundled targets are French; a model that summarises has other targets.
    return replace(texts, texts=tuple(replace(text, target=None) for text in texts.texts))


def _room(model: Model) -> int:
    return min(model.info.max_tokens or WINDOW_TOKENS, WINDOW_TOKENS)


def _pieces(model: Model, prompt: str, text: Text, long: LongTexts) -> list[Encoded]:
    """Return a text's ids; several where it has to be read in windows."""
    target = text.target if model.info.family == "encoder-decoder" else None
    room = _room(model)
    try:
        limit = None if long == "refuse" else room
        return [encode(model, prompt + text.source, target=target, limit=limit)]
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
    parts = _split(model.tokenizer, text.source, max(room - spare, 1))
    return [encode(model, prompt + part, cut=True, limit=room) for part in parts if part.strip()]


def _split(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> list[str]:
    """Return a text in pieces of at most so many tokens, cut before a word where there is one."""
    if tokenizer.is_fast:
        with tokenizing("this model"):
            made = tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
        starts = [start for start, _ in made["offset_mapping"]]
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


def _questions(model: Model, encoded: Encoded, random: np.random.Generator) -> tuple[Question, ...]:
    """Return what the model has to predict in a text."""
    if model.info.family == "encoder":
        return _masked(model, encoded, random)
    read = encoded.ids if encoded.target is None else encoded.target
    came = read[1:] if encoded.closing is None else (*read[1:], encoded.closing)
    return (Question(encoded, tuple(range(len(came))), came),) if came else ()


def _masked(model: Model, encoded: Encoded, random: np.random.Generator) -> tuple[Question, ...]:
    """Copies of a text with different tokens hidden."""
    mask = model.tokenizer.mask_token_id
    if mask is None:
        return ()
    special = set(model.tokenizer.all_special_ids)
    ordinary = [place for place, one in enumerate(encoded.ids) if one not in special]
    order = random.permutation(ordinary).tolist()
    size = max(round(MASK_SHARE * len(order)), 1)
    asked = []
    for start in range(0, min(len(order), MASKED_COPIES * size), size):
        places = tuple(sorted(order[start : start + size]))
        hidden = set(places)
        ids = tuple(mask if at in hidden else one for at, one in enumerate(encoded.ids))
        wanted = tuple(encoded.ids[place] for place in places)
        asked.append(Question(replace(encoded, ids=ids), places, wanted))
    return tuple(asked)

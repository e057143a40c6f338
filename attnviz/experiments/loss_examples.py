"""Encoded texts, and the inputs and target tokens of their loss."""

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

__all__ = ["Example", "LongTexts", "LossInput", "batches", "examples", "translates"]

LongTexts = Literal["windows", "refuse"]
"""What becomes of a text with more tokens than the model has positions."""

WINDOW_TOKENS = 512
"""Most tokens of a window, if the model has more positions: windows are the samples of the
bootstrap, whose intervals need many of them."""

MASK_SHARE = 0.15  # Devlin et al. 2019
MASKED_COPIES = 3
"""Number of masked copies of a text, with disjoint masks: a copy of a short text has two or three
masks, too few for a narrow interval."""

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class LossInput:
    """Input of the model, and the target tokens of its loss.

    Attributes:
        encoded: input of the model.
        positions: positions of the logits that the loss is taken at (in an encoder-decoder those
            of the decoder).
        target_ids: correct token at each of these positions.
    """

    encoded: Encoded
    positions: tuple[int, ...]
    target_ids: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """Text, or one window of a long text, with the inputs of its loss.

    Attributes:
        number: index of the text in the set.
        encoded: the text without masks; attention is measured on it.
        loss_inputs: inputs of the loss: the text itself for a decoder, copies with masked words
            for an encoder, text and target for an encoder-decoder. Empty if the model has no
            trained language head, or none that can be used.
    """

    number: int
    encoded: Encoded
    loss_inputs: tuple[LossInput, ...] = ()

    @property
    def tokens(self) -> int:
        """Number of tokens that the loss is taken over."""
        return sum(len(loss_input.target_ids) for loss_input in self.loss_inputs)


def examples(
    model: Model, texts: TextSet, *, long: LongTexts = "windows", seed: int = 0
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """Return the texts as the model reads them, in their order, and notes on what was done to them.

    Causal language models predict every next token, masked ones (Devlin et al. 2019) for
    tokens hidden by the mask token, 15% at a time in three disjoint draws; encoder-decoders for the
    target of the set, or for the target that the model generates where the set has none. The loss
    change is then the log-probability that the generated words lose.

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
    ready_texts: list[Example] = []
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
            inputs = _loss_inputs(model, ready, random) if model.predicts else ()
            ready_texts.append(Example(number, ready, inputs))
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
    elif not any(example.loss_inputs for example in ready_texts):
        notes.append(
            f"the tokenizer of {model.info.name} has no mask token: there is no loss, so no head "
            "could be tested by removing it"
        )
    elif both and not all(text.target for text in texts.texts):
        notes.append(
            f"where no target was given, the loss is that of what {model.info.name} writes itself"
        )
    return tuple(ready_texts), tuple(notes)


def batches(rows: Sequence[Encoded], tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Yield indices of rows of similar length, at most `tokens` in all with their padding."""
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


def _loss_inputs(
    model: Model, encoded: Encoded, random: np.random.Generator
) -> tuple[LossInput, ...]:
    """Return the inputs and target tokens of the loss of one text."""
    if model.info.family == "encoder":
        return _masked(model, encoded, random)
    read = encoded.ids if encoded.target is None else encoded.target
    next_ids = read[1:] if encoded.closing is None else (*read[1:], encoded.closing)
    return (LossInput(encoded, tuple(range(len(next_ids))), next_ids),) if next_ids else ()


def _masked(model: Model, encoded: Encoded, random: np.random.Generator) -> tuple[LossInput, ...]:
    """Return copies of a text with disjoint sets of masked tokens."""
    mask = model.tokenizer.mask_token_id
    if mask is None:
        return ()
    special = set(model.tokenizer.all_special_ids)
    ordinary = [place for place, one in enumerate(encoded.ids) if one not in special]
    order = random.permutation(ordinary).tolist()
    size = max(round(MASK_SHARE * len(order)), 1)
    copies = []
    for start in range(0, min(len(order), MASKED_COPIES * size), size):
        places = tuple(sorted(order[start : start + size]))
        hidden = set(places)
        ids = tuple(mask if at in hidden else one for at, one in enumerate(encoded.ids))
        targets = tuple(encoded.ids[place] for place in places)
        copies.append(LossInput(replace(encoded, ids=ids), places, targets))
    return tuple(copies)

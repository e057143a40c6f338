"""Encoded texts, and the inputs and target tokens of their loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnviz.experiments.encoded_texts import (
    LongTexts,
    encoded_texts,
    usable_texts,
    window_note,
)
from attnviz.experiments.text_sets import TextSet
from attnviz.models import Encoded, Model

__all__ = ["Example", "LossInput", "batches", "examples"]

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
    texts = usable_texts(model, texts)
    both = model.info.family == "encoder-decoder"
    notes: list[str] = []
    ready_texts: list[Example] = []
    random = np.random.default_rng(seed)
    for one in encoded_texts(model, texts, long=long):
        inputs = _loss_inputs(model, one.encoded, random) if model.predicts else ()
        ready_texts.append(Example(one.number, one.encoded, inputs))
    if note := window_note(model, texts, [one.number for one in ready_texts]):
        notes.append(note)
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

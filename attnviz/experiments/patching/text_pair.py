"""Pair of texts for patching, and the two tokens whose logits are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import check_separate
from attnviz.experiments.patching.text_alignment import Alignment, Partners, align
from attnviz.models import (
    Encoded,
    Model,
    call_options,
    check_encoded,
    labels,
    model_inputs,
    tokenizing,
)
from attnviz.types import Kind

__all__ = [
    "MOST_TOKENS",
    "LogitDifference",
    "TextPair",
    "check_position",
    "label_of",
    "likeliest",
    "logits_of",
    "word_id",
]

MOST_TOKENS = 256
"""Longest text of a pair: the weights of all heads of the clean run are kept."""


@dataclass(frozen=True)
class LogitDifference:
    """Logit of one token minus the logit of another, at one position.

    Attributes:
        answer: id of the token that fits the clean text.
        other: id of the token that fits the corrupted text; None for the logit of `answer` alone.
        position: position of the clean text that predicts; negative numbers count from the end
            of either text.
    """

    answer: int
    other: int | None = None
    position: int = -1

    def of(self, logits: Float[Tensor, "batch position word"]) -> Float[Tensor, " batch"]:
        """Return the difference in each run of a batch, in float64.

        Raises:
            InputError: no such position or token.
        """
        _, count, words = logits.shape
        if not -count <= self.position < count:
            raise InputError(f"there is no position {self.position}; there are {count}")
        for token in (self.answer, self.other):
            if token is not None and not 0 <= token < words:
                raise InputError(f"there is no token {token}; the vocabulary has {words}")
        row = logits[:, self.position].double()
        answers = row[:, self.answer]
        return answers if self.other is None else answers - row[:, self.other]


@dataclass(frozen=True)
class TextPair:
    """Two texts: parts of the clean run go into the corrupted one.

    Texts of unequal numbers of tokens are aligned (`align`). Parts are put in at tokens with a
    partner only; what the other tokens bring stays as it is in the corrupted run, so that not even
    all heads together need restore the clean run.

    Attributes:
        clean: text on which the model does what is studied.
        corrupted: text that differs from it in what matters.
        marks: positions of tokens of both texts that are partners in any case.
    """

    clean: Encoded
    corrupted: Encoded
    marks: tuple[Partners, ...] = ()

    def check(self, model: Model) -> None:
        """Refuse pairs that cannot be patched.

        Raises:
            InputError: too many tokens, one target alone, marks that do not fit, a model that
                predicts no tokens, or one that runs a module for several layers.
        """
        name = model.info.name
        if not model.predicts:
            raise InputError(f"{name} predicts no tokens: it has no trained language head")
        check_separate(model, "patched")
        check_encoded(model, [self.clean, self.corrupted])
        for text in (self.clean, self.corrupted):
            for what, row in (("texts", text.ids), ("targets", text.target or ())):
                if len(row) > MOST_TOKENS:
                    raise InputError(
                        f"patching takes {what} of at most {MOST_TOKENS} tokens, and one has "
                        f"{len(row)}. Shorten it."
                    )
        self.texts()
        self.targets()

    def texts(self) -> Alignment:
        """Return the alignment of the two texts."""
        return align(self.clean.ids, self.corrupted.ids, self.marks)

    def targets(self) -> Alignment:
        """Return the alignment of the two targets; empty for a model with one stack."""
        return align(self.clean.target or (), self.corrupted.target or ())

    def predicted(self) -> Alignment:
        """Return the alignment of the texts whose tokens are predicted: targets, if there are."""
        return self.texts() if self.clean.target is None else self.targets()

    def queries(self, kind: Kind) -> Alignment:
        """Return the alignment of the queries of a kind of attention."""
        return self.targets() if kind in ("decoder", "cross") else self.texts()

    def keys(self, kind: Kind) -> Alignment:
        """Return the alignment of the keys of a kind of attention."""
        return self.targets() if kind == "decoder" else self.texts()

    def differing(self) -> tuple[int, ...]:
        """Return the positions of the clean text without a partner, or with a different one."""
        same = {
            one
            for one, other in self.texts().pairs
            if self.clean.ids[one] == self.corrupted.ids[other]
        }
        return tuple(at for at in range(len(self.clean.ids)) if at not in same)

    def in_corrupted(self, difference: LogitDifference) -> LogitDifference:
        """Return a logit difference of the clean run at its place in the corrupted run.

        Raises:
            InputError: there is no such position, or it has no partner.
        """
        if difference.position < 0:
            return difference
        count = self.predicted().counts[0]
        if difference.position >= count:
            raise InputError(f"there is no position {difference.position}; there are {count}")
        place = self.predicted().partner(difference.position)
        if place is None:
            raise InputError(
                f"position {difference.position} of the clean text has no partner in the corrupted "
                "one. Mark the two tokens that belong together."
            )
        return replace(difference, position=place)


def logits_of(
    model: Model, encoded: Encoded, copies: int = 1
) -> Float[Tensor, "copy position word"]:
    """Run a model on copies of a text, and return its logits.

    Raises:
        InputError: the model predicts no token per position.
    """
    inputs = {
        name: tensor.expand(copies, *tensor.shape[1:])
        for name, tensor in model_inputs(model, [encoded]).items()
    }
    with torch.inference_mode():
        logits: Tensor = model.network(**inputs, **call_options(model, model.network)).logits
    if logits.dim() != 3:
        raise InputError(f"{model.info.name} predicts no token at any position")
    return logits


def likeliest(model: Model, encoded: Encoded, position: int = -1, count: int = 8) -> list[int]:
    """Return the ids that a model finds likeliest at a position, the likeliest first."""
    row = logits_of(model, encoded)[0, position]
    ids: list[int] = row.topk(min(count, len(row))).indices.tolist()
    return ids


def label_of(model: Model, token: int) -> str:
    """Return the printable text of a token."""
    return labels(model.vocabulary, [token])[0]


def word_id(model: Model, word: str) -> tuple[int, bool]:
    """Return the id of a word's first token behind a space, and whether that is the whole word.

    Raises:
        InputError: the word has no token.
    """
    rows = []
    with tokenizing(model.info.name):
        for text in (f" {word.strip()}", word.strip()):
            rows.append(list(model.tokenizer(text, add_special_tokens=False)["input_ids"]))
    if not word.strip() or not rows[0]:
        raise InputError("there is no word to compare; type one")
    # A decoder of bytes has the space in its token; other tokenizers add it themselves.
    row = rows[0] if len(rows[0]) <= len(rows[1]) else rows[1]
    return int(row[0]), len(row) == 1


def check_position(model: Model, encoded: Encoded, position: int) -> None:
    """Refuse models that predict no tokens, and positions that a text does not have.

    Raises:
        InputError: see above.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    count = len(encoded.ids if encoded.target is None else encoded.target)
    if not -count <= position < count:
        raise InputError(f"there is no position {position}; there are {count}")

"""Pair of texts for patching, and the two tokens whose logits are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.models import (
    Encoded,
    Model,
    call_options,
    check_encoded,
    labels,
    model_inputs,
    tokenizing,
)

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
        position: position that predicts; negative numbers count from the end.
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
    """Two texts of equal numbers of tokens: parts of the clean run go into the corrupted one.

    Attributes:
        clean: text on which the model does what is studied.
        corrupted: text that differs from it in what matters.
    """

    clean: Encoded
    corrupted: Encoded

    def check(self, model: Model) -> None:
        """Refuse pairs that cannot be patched.

        Raises:
            InputError: unequal numbers of tokens, too many of them, a model that predicts no
                tokens, or one that runs a module for several layers.
        """
        name = model.info.name
        if not model.predicts:
            raise InputError(f"{name} predicts no tokens: it has no trained language head")
        if model.sites.places().shared:
            raise InputError(
                f"{name} runs one module for several layers, so that a layer cannot be patched by "
                "itself"
            )
        check_encoded(model, [self.clean, self.corrupted])
        for what, one, two in (
            ("texts", self.clean.ids, self.corrupted.ids),
            ("targets", self.clean.target or (), self.corrupted.target or ()),
        ):
            if len(one) != len(two):
                raise InputError(
                    f"patching needs {what} of equal length: the clean one has {len(one)} tokens "
                    f"and the corrupted one {len(two)}. Replace words by others with as many "
                    "tokens."
                )
            if len(one) > MOST_TOKENS:
                raise InputError(
                    f"patching takes {what} of at most {MOST_TOKENS} tokens, and these have "
                    f"{len(one)}. Shorten them."
                )

    def differing(self) -> tuple[int, ...]:
        """Return the positions at which the two texts differ."""
        pairs = zip(self.clean.ids, self.corrupted.ids, strict=True)
        return tuple(at for at, (one, other) in enumerate(pairs) if one != other)


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

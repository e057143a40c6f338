"""Experiments on a model: sequences made to show one ability, and what the heads do on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz import metrics
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture, Encoded, capture_ids, encode
from attnviz.errors import InputError, TextTooLong
from attnviz.experiments.loss_examples import Example, LossInput
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Model, vocabulary_size

__all__ = ["Repetition", "repeat_random", "repeat_text", "repeated_examples"]

SCORES = ("induction", "previous_token", "duplicate_token")


@dataclass(frozen=True)
class Repetition:
    """Scores and losses on sequences whose second half repeats the first.

    Attributes:
        capture: of the first sequence, with its weights.
        period: tokens per copy.
        begin: tokens before the first copy (the begin token: 1 or 0).
        scores: per metric a [layer, head] table, the mean over the rows of the second copy and
            over sequences.
        first_copy: loss per token of the first copy, nats, mean over sequences; place 0 is NaN
            where no begin token predicts it.
        second_copy: loss per token of the second copy.
    """

    capture: Capture
    period: int
    begin: int
    scores: dict[str, Float[np.ndarray, "layer head"]]
    first_copy: Float[np.ndarray, " position"]
    second_copy: Float[np.ndarray, " position"]

    @property
    def gain(self) -> float:
        """Return the loss of the first copy minus that of the second, nats per token."""
        # The first token of the second copy cannot be known to be a repetition: left out in both.
        return float(self.first_copy[1:].mean() - self.second_copy[1:].mean())


def repeat_random(
    model: Model, *, period: int = 50, sequences: int = 4, seed: int = 0
) -> Repetition:
    """Run random tokens twice in a row: only repetition can predict the second copy.

    Begin token first (where the model has one), then `period` tokens drawn from the vocabulary
    without special tokens, then the same again. Source: Olsson et al. 2022.

    Args:
        model: a decoder.
        period: tokens per copy; at least 2.
        sequences: over how many such sequences scores and losses are averaged.
        seed: of the draw.

    Raises:
        TextTooLong: two copies do not fit into the model.
        InputError: not a decoder, or a period that makes no sense.
    """
    if sequences < 1:
        raise InputError(f"at least one sequence is needed, not {sequences}")
    _check_period(model, period)  # before drawing: a period may be negative, or a billion
    vocabulary = _ordinary_tokens(model)
    generator = np.random.default_rng(seed)
    drawn = [generator.choice(vocabulary, period).tolist() for _ in range(sequences)]
    return _repeat(model, drawn)


def repeated_examples(
    model: Model, *, period: int = 25, sequences: int = 8, seed: int = 0
) -> tuple[Example, ...]:
    """Return random sequences that repeat; the loss is that of the second copy.

    Drawn as in `repeat_random`; the first token of the second copy is left out of the loss.

    Raises:
        TextTooLong: two copies do not fit into the model.
        InputError: not a decoder, or a period below 2.
    """
    _check_period(model, period)
    generator = np.random.default_rng(seed)
    vocabulary = _ordinary_tokens(model)
    start = [] if model.tokenizer.bos_token_id is None else [int(model.tokenizer.bos_token_id)]
    repeated = []
    for number in range(sequences):
        copy = generator.choice(vocabulary, period).tolist()
        ids = (*start, *copy, *copy)
        second = range(len(start) + period + 1, len(ids))
        targets = tuple(ids[place] for place in second)
        encoded = Encoded(ids)
        loss_input = LossInput(encoded, tuple(place - 1 for place in second), targets)
        repeated.append(Example(number, encoded, (loss_input,)))
    return tuple(repeated)


def repeat_text(model: Model, text: str) -> Repetition:
    """Repeat the tokens of a text, so that both copies are split alike.

    Raises:
        EmptyText: nothing to repeat.
        TextTooLong: two copies do not fit into the model.
        InputError: not a decoder, or a text of a single token.
    """
    encoded = encode(model, text, begin=False, cut=True)
    _check_room(model, len(encoded.ids) + encoded.cut)
    return _repeat(model, [list(encoded.ids)])


def _check_period(model: Model, period: int) -> None:
    """Refuse models that continue nothing, and copies without an order or without room."""
    info = model.info
    if info.family != "decoder":
        raise InputError(
            f"induction is about continuing a text, and {info.name} is an {info.family}; choose a "
            "decoder such as a GPT"
        )
    if period < 2:
        raise InputError(f"a copy needs at least 2 tokens to have an order, this one has {period}")
    _check_room(model, period)


def _check_room(model: Model, period: int) -> None:
    """Refuse copies that do not fit into the model twice."""
    limit = model.info.max_tokens
    begin = int(model.tokenizer.bos_token_id is not None)
    length = begin + 2 * period
    if limit is not None and length > limit:
        raise TextTooLong(
            f"two copies of {period} tokens make {length}, and {model.info.name} has room for "
            f"{limit}; use at most {(limit - begin) // 2} tokens",
            tokens=length,
            limit=limit,
        )


def _repeat(model: Model, copies: list[list[int]]) -> Repetition:
    period = len(copies[0])
    _check_period(model, period)
    start = [] if model.tokenizer.bos_token_id is None else [int(model.tokenizer.bos_token_id)]
    length = len(start) + 2 * period
    sequences = [Encoded(tuple(start + copy + copy)) for copy in copies]
    shown = capture_ids(model, sequences[:1], keep="qkv")
    others = capture_ids(model, sequences[1:], keep="statistics") if sequences[1:] else []
    captures = [*shown, *others]
    second = slice(len(start) + period, length)
    scores = {
        name: np.mean([_second_copy(name, one["self"], second) for one in captures], axis=0)
        for name in SCORES
    }
    # losses[i] is the cost of token i + 1; shifted so that entry i is the cost of token i.
    cost = np.mean([np.concatenate([[np.nan], one.losses[:-1]]) for one in captures], axis=0)
    return Repetition(
        captures[0],
        period,
        len(start),
        scores,
        cost[len(start) : len(start) + period],
        cost[second],
    )


def _second_copy(name: str, stack: AttentionStack, rows: slice) -> Float[np.ndarray, "layer head"]:
    """Return a metric's mean over some rows; NaN for heads whose numbers are not all finite."""
    means = mean_over_rows(metrics.per_row(name, stack)[:, :, rows])
    return np.where(stack.not_finite, np.nan, means)


def _ordinary_tokens(model: Model) -> list[int]:
    """Return the vocabulary without special tokens and without ids that stand for nothing."""
    special = set(model.tokenizer.all_special_ids)
    size = min(len(model.tokenizer), vocabulary_size(model.network))
    return [number for number in range(size) if number not in special]

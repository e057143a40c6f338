"""Measures of the rows of a head by which texts are ordered: metrics, and weight beside sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from attnviz import metrics
from attnviz.attention import AttentionStack
from attnviz.doctor.measures.text_measures import resting_places
from attnviz.errors import InputError
from attnviz.metrics.sinks import sink_key, sink_mask
from attnviz.types import Head, Kind, Metric

__all__ = [
    "ELSEWHERE",
    "SCORE",
    "RowValues",
    "attended_key",
    "is_lowest",
    "measure_description",
    "measure_names",
    "measures_of_kind",
    "row_values",
]

ELSEWHERE, SCORE = "elsewhere", "score"

BESIDE_SINKS = {
    ELSEWHERE: Metric(
        ELSEWHERE,
        "Weight beside sinks",
        "",
        "The largest weight on a key that is neither the token itself, nor the first token, nor a "
        "special token, nor a sink of the head.",
        (0.0, 1.0),
        "gives {value} of its weight to one key beside the sinks",
    ),
    SCORE: Metric(
        SCORE,
        "Score beside sinks",
        "score",
        "The largest score before the softmax, of the same keys.",
        (None, None),
        "has a score of {value} on one key beside the sinks",
    ),
}

LOWEST = ("entropy", "normalized_entropy")
"""Metrics whose lowest values are searched: a head is sharp where its entropy is low."""

ONE_TEXT = (
    *("previous_token", "next_token", "self"),
    *("mean_distance", "duplicate_token", "induction"),
)
"""Metrics that need queries and keys of one text: not defined in cross-attention."""

NEIGHBOURS = {"previous_token": -1, "self": 0, "next_token": 1}  # key - query
FOLLOWERS = {"duplicate_token": 0, "induction": 1}  # key - earlier copy of the query's token

ROWS = 128  # queries whose weights exist at a time


def measure_names() -> tuple[str, ...]:
    """Return the names of all measures, in the order of the menus."""
    return (*BESIDE_SINKS, *metrics.names())


def measures_of_kind(kind: Kind) -> tuple[str, ...]:
    """Return the measures that are defined for a kind of attention."""
    return tuple(name for name in measure_names() if kind != "cross" or name not in ONE_TEXT)


def measure_description(name: str) -> Metric:
    """Return label, unit, range and meaning of a measure.

    Raises:
        InputError: no measure of this name.
    """
    if name not in measure_names():
        raise InputError(
            f"there is no measure {name!r} of rows; there are {', '.join(measure_names())}"
        )
    return BESIDE_SINKS[name] if name in BESIDE_SINKS else metrics.describe(name)


def is_lowest(name: str) -> bool:
    """Return whether the lowest values of a measure are searched."""
    return name in LOWEST


class RowValues(NamedTuple):
    """Measure of every row of the wanted heads.

    Attributes:
        values: NaN where a row is left out.
        keys: the key that each value is about, for measures that are computed with it; else None.
    """

    values: Float[np.ndarray, "layer head query"]
    keys: Int[np.ndarray, "layer head query"] | None


def row_values(
    name: str, stack: AttentionStack, wanted: Bool[np.ndarray, "layer head"]
) -> RowValues:
    """Return a measure of every row of the wanted heads; NaN where a row is left out.

    Left out are rows of special tokens ([CLS], [SEP], the begin token), rows whose neighbour is
    one where the measure is about a neighbour, rows that see one key, rows without the measure, and
    heads with NaN or infinity (`AttentionStack.not_finite`).
    """
    keys: np.ndarray | None = None
    if name in BESIDE_SINKS:
        values, keys = _beside_sinks(name, stack, wanted)
    else:
        values = metrics.per_row(name, stack)
    if name == "sink":
        keys = np.broadcast_to(sink_key(stack)[:, :, None], values.shape)
    left_out = stack.query_tokens.special | (stack.visible < 2)
    if name in NEIGHBOURS and stack.same_text:
        left_out = left_out | np.roll(stack.key_tokens.special, -NEIGHBOURS[name])
    unusable = (stack.not_finite | ~wanted)[:, :, None] | left_out[:, None, :]
    return RowValues(np.where(unusable, np.nan, values).astype(np.float32), keys)


def attended_key(
    name: str, rows: RowValues, stack: AttentionStack, head: Head, query: int
) -> tuple[int, Float[np.ndarray, " key"]]:
    """Return the key that a measure of a row is about, and the weights of the row.

    The previous, next or same token; the first key; the sink; of several copies, or followers of
    copies, the one with the largest weight; otherwise the key with the largest weight.
    """
    weights = stack.weights(head.layer, head.head, slice(query, query + 1))[0]
    if rows.keys is not None:
        return int(rows.keys[head.layer, head.head, query]), weights
    if name in NEIGHBOURS:
        return query + NEIGHBOURS[name], weights
    if name == "sink_first":
        return 0, weights
    if name not in FOLLOWERS:
        return int(weights.argmax()), weights
    ids = stack.key_tokens.ids
    candidates = np.flatnonzero(ids[:query] == ids[query]) + FOLLOWERS[name]
    return int(candidates[weights[candidates].argmax()]), weights


class _Block(NamedTuple):
    """Rows of a layer, and the mask of the keys that do not count in them."""

    layer: int
    rows: slice
    hidden: Bool[np.ndarray, "query key"]


def _beside_sinks(
    name: str, stack: AttentionStack, wanted: Bool[np.ndarray, "layer head"]
) -> tuple[Float[np.ndarray, "layer head query"], Int[np.ndarray, "layer head query"]]:
    """Return the largest weight or score of every row beside the keys set aside, and its key.

    NaN where no other key is visible. At most `ROWS` rows of one head exist at a time.
    """
    values = np.full(stack.shape[:3], np.nan, np.float32)
    keys = np.zeros(stack.shape[:3], np.int32)
    compute = stack.weights if name == ELSEWHERE else stack.scores
    sinks = sink_mask(stack)
    for block in _blocks(stack, np.flatnonzero(wanted.any(1))):
        for head in np.flatnonzero(wanted[block.layer]):
            numbers = compute(block.layer, int(head), block.rows)
            numbers[block.hidden | sinks[block.layer, head]] = -np.inf
            best = numbers.max(-1)
            keys[block.layer, head, block.rows] = numbers.argmax(-1)
            values[block.layer, head, block.rows] = np.where(np.isneginf(best), np.nan, best)
    return values, keys


def _blocks(stack: AttentionStack, layers: Int[np.ndarray, " chosen"]) -> Iterator[_Block]:
    """Yield the rows of the chosen layers in pieces."""
    for layer in layers:
        for start in range(0, stack.shape[2], ROWS):
            rows = slice(start, min(start + ROWS, stack.shape[2]))
            yield _Block(int(layer), rows, _hidden(stack, int(layer), rows))


def _hidden(stack: AttentionStack, layer: int, rows: slice) -> Bool[np.ndarray, "query key"]:
    """Return the mask of the keys of each row that do not count, whatever the head is.

    Invisible keys, special tokens and, where queries and keys are one text, its first token and
    the query itself.
    """
    hidden: np.ndarray = ~stack.layers[layer].visibility.table(rows.start, rows.stop)[0].numpy()
    if stack.same_text:
        hidden[:, resting_places(stack)] = True
        places = np.arange(rows.start, rows.stop)
        hidden[places - rows.start, places] = True
    else:
        hidden[:, stack.key_tokens.special] = True
    return hidden

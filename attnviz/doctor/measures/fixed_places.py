"""Weight at fixed offsets, and on one token or position that is not the first, over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Encoded, Model
from attnviz.models.tokenizers.marker_ids import marker_ids
from attnviz.types import Kind

__all__ = ["FARTHEST", "FixedPlaces", "offset_name", "read_fixed_places"]

FARTHEST = 8
"""Largest distance of an offset, and of a resting place from the beginning, in tokens."""

LEAST_SHARE = 1 / 3
"""Share of windows that have to contain a token for it to be a resting place."""

MOST_TOKENS = 24
MORE_THAN_EVEN = 2.0
"""A place counts only with this many times the weight that an even spread gives it."""

FEWEST_ROWS = 4
LEAST_ROWS = 0.25  # share of the rows of a window that have to see a place
MOST_OF_A_ROW = 0.5

Candidate = tuple[str, Bool[np.ndarray, "window key"]]
"""Name of a place and the mask of its keys."""


@dataclass(frozen=True)
class FixedPlaces:
    """Best offset and best other resting place of every head, of one kind of attention.

    Attributes:
        offset_weight: weight at the head's best offset, mean over rows, [layer, head, window].
        offsets: that offset, key position minus query position; 0 without one, [layer, head].
        other_rest: weight on the token or position, apart from the first token and separators,
            that receives most, mean over the rows that see it, [layer, head, window]; NaN in
            windows without it.
        other_elsewhere: share of these rows with less than half of their weight there.
        places: name of that token or position; "" without one, [layer][head].
    """

    offset_weight: Float[np.ndarray, "layer head window"]
    offsets: Int[np.ndarray, "layer head"]
    other_rest: Float[np.ndarray, "layer head window"]
    other_elsewhere: Float[np.ndarray, "layer head window"]
    places: tuple[tuple[str, ...], ...]

    def tables(self) -> dict[str, Float[np.ndarray, "layer head window"]]:
        """Return the measures by name."""
        return {
            "offset_weight": self.offset_weight,
            "other_rest": self.other_rest,
            "other_elsewhere": self.other_elsewhere,
        }


def offset_name(offset: int) -> str:
    """Return "2 tokens before" or "3 tokens after"."""
    return f"{abs(offset)} tokens {'before' if offset < 0 else 'after'}"


def read_fixed_places(
    model: Model,
    kind: Kind,
    windows: Sequence[Encoded],
    maps: Sequence[Float[np.ndarray, "layer head query key"]],
    visible: Bool[np.ndarray, "layer query key"],
) -> FixedPlaces:
    """Return the best offset and the best other resting place of every head of one kind.

    Args:
        model: from `attnviz.load`.
        kind: of the maps.
        windows: equally long, from `cut_to_windows`.
        maps: weights, one per window.
        visible: mask of visible keys, the same for all windows.
    """
    ids = np.asarray([one.target if kind == "decoder" else one.ids for one in windows])
    ids = ids[:, : maps[0].shape[-1]]
    special = np.isin(ids, list(marker_ids(model.tokenizer)))
    special[:, 0] = True
    candidates = [*_tokens(model, ids, special), *_positions(special)]
    layers = []
    for layer, seen in enumerate(visible):
        weights = np.stack([one[layer] for one in maps], 1)  # head, window, query, key
        layers.append((*_best_offset(weights, seen, kind), *_best_place(weights, seen, candidates)))
    offset_weight, offsets, rest, elsewhere, places = zip(*layers, strict=True)
    return FixedPlaces(
        np.stack(offset_weight), np.stack(offsets), np.stack(rest), np.stack(elsewhere), places
    )


def _best_place(
    weights: Float[np.ndarray, "head window query key"],
    visible: Bool[np.ndarray, "query key"],
    candidates: Sequence[Candidate],
) -> tuple[Float[np.ndarray, "head window"], Float[np.ndarray, "head window"], tuple[str, ...]]:
    """Return weight, share of rows elsewhere and name of each head's best place, for one layer."""
    heads, count = weights.shape[:2]
    rest, elsewhere = np.full((2, heads, count), np.nan, np.float32)
    names = [""] * heads
    best = np.zeros(heads)
    seen = visible.sum(-1, keepdims=True)
    even = visible / np.maximum(seen, 1)
    for name, chosen in candidates:
        rows = (seen[:, 0] > 1) & (chosen[:, None, :] & visible).any(-1)  # window, query
        exists = rows.sum(-1) >= max(FEWEST_ROWS, LEAST_ROWS * len(visible))
        if exists.mean() < LEAST_SHARE:
            continue
        total = np.where(exists, rows.sum(-1), np.nan)
        place = chosen.astype(np.float32)
        on = np.einsum("hwqk,wk->hwq", weights, place)
        mean = (on * rows).sum(-1) / total
        expected = (np.einsum("qk,wk->wq", even, place) * rows).sum(-1) / total
        score = mean_over_rows(mean)  # NaN where a head computes NaN in every window
        fair = MORE_THAN_EVEN * float(mean_over_rows(expected))
        away = ((on < MOST_OF_A_ROW) & rows).sum(-1) / total
        for head in np.flatnonzero((score > best) & (score > fair)):
            best[head], names[head] = score[head], name
            rest[head], elsewhere[head] = mean[head], away[head]
    return rest, elsewhere, tuple(names)


def _best_offset(
    weights: Float[np.ndarray, "head window query key"],
    visible: Bool[np.ndarray, "query key"],
    kind: Kind,
) -> tuple[Float[np.ndarray, "head window"], Int[np.ndarray, " head"]]:
    """Return the weight at each head's best offset and that offset, for one layer."""
    heads, count, queries, keys = weights.shape
    choosing = visible.sum(-1) > 1
    best, offsets = np.full((heads, count), np.nan, np.float32), np.zeros(heads, int)
    if kind == "cross":
        return best, offsets  # positions of two texts
    for offset in (one for one in range(-FARTHEST, FARTHEST + 1) if abs(one) > 1):
        query = np.arange(max(-offset, 0), min(queries, keys - offset))
        query = query[choosing[query] & visible[query, query + offset]]
        if len(query) < FEWEST_ROWS:
            continue
        on = weights[:, :, query, query + offset].mean(-1)
        better = mean_over_rows(on) > np.nan_to_num(mean_over_rows(best), nan=-1.0)
        best[better], offsets[better] = on[better], offset
    return best, offsets


def _tokens(
    model: Model, ids: Int[np.ndarray, "window key"], special: Bool[np.ndarray, "window key"]
) -> list[Candidate]:
    """Return the most frequent ordinary tokens with the mask of their positions."""
    known, counts = np.unique(
        np.concatenate([np.unique(row[~hidden]) for row, hidden in zip(ids, special, strict=True)]),
        return_counts=True,
    )
    order = np.argsort(-counts, kind="stable")[:MOST_TOKENS]
    frequent = [int(known[one]) for one in order if counts[one] >= LEAST_SHARE * len(ids)]
    return [
        (f"“{model.tokenizer.decode([one]).strip()}”", (ids == one) & ~special) for one in frequent
    ]


def _positions(
    special: Bool[np.ndarray, "window key"],
) -> list[Candidate]:
    """Return the first positions but 0 with their masks; special tokens are left out."""
    keys = special.shape[1]
    return [
        (f"position {place}", (np.arange(keys) == place) & ~special)
        for place in range(1, min(FARTHEST + 1, keys))
    ]

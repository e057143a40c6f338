"""Measures that compare rows of equal place: dependence on the text, similar heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from attnviz import metrics
from attnviz.attention import following
from attnviz.captures.forward_pass import capture_ids
from attnviz.captures.output_share import AddedCosines
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.doctor.measures.fixed_places import FixedPlaces, read_fixed_places
from attnviz.doctor.measures.students_t import t_quantile
from attnviz.doctor.measures.text_measures import batch_tokens
from attnviz.models import Encoded, Model
from attnviz.models.tokenizers.marker_ids import marker_ids
from attnviz.types import Kind

__all__ = ["Windows", "content_dependence", "cut_to_windows", "likeness", "read_windows"]

LONGEST = 24
SHORTEST = 4
MOST_TEXTS = 64
REACHED_BY = 0.75  # share of texts that are as long as a window


@dataclass(frozen=True)
class Windows:
    """Measures over the equally long beginnings of texts.

    Attributes:
        length: tokens per window: of the source and, for an encoder-decoder, of the target.
        texts: how many windows there are; 0 where the texts are too short or too few.
        dependence: mutual information between text and looked-at key, nats, per kind.
        head_distance: Jensen-Shannon divergence between the heads of a layer, nats, per kind.
        output_cosine: cosine between what they add to the text's vectors, per kind.
        received: mean weight each place gets from those who see it, mean over windows, per kind.
        fixed: weight at fixed offsets and on other resting places, per kind.
    """

    length: tuple[int, ...]
    texts: int
    dependence: Mapping[Kind, Intervals]
    head_distance: Mapping[Kind, Float[np.ndarray, "layer head head text"]]
    output_cosine: Mapping[Kind, Float[np.ndarray, "layer head head text"]]
    received: Mapping[Kind, Float[np.ndarray, "layer head key"]]
    fixed: Mapping[Kind, FixedPlaces]


def cut_to_windows(model: Model, texts: Sequence[Encoded]) -> tuple[Encoded, ...]:
    """Return the first tokens of those texts that have enough, all of one length.

    Special tokens keep their places at both ends. The length is what three texts in four reach,
    and at most 24 tokens; empty where that is less than 4, or fewer than 2 texts have it. Texts
    that begin alike to the last token count once: no head could tell them apart.
    """
    special = marker_ids(model.tokenizer)
    length = _common(len(one.ids) for one in texts)
    chosen = [one for one in texts if len(one.ids) >= length]
    both = model.info.family == "encoder-decoder"
    if both:
        target = _common(len(one.target or ()) for one in chosen)
        chosen = [one for one in chosen if len(one.target or ()) >= target]
    if len(chosen) < 2 or length < SHORTEST or (both and target < SHORTEST):
        return ()
    windows: dict[tuple[tuple[int, ...], tuple[int, ...]], Encoded] = {}
    for one in chosen:
        places = _beginning(one.ids, length, special)
        ids = tuple(one.ids[at] for at in places)
        begun = one.target[:target] if both and one.target is not None else None
        segments = None if one.segments is None else tuple(one.segments[at] for at in places)
        window = replace(one, ids=ids, segments=segments, target=begun, closing=None)
        windows.setdefault((ids, begun or ()), window)
    return tuple(windows.values())[:MOST_TEXTS] if len(windows) > 1 else ()


def likeness(windows: Sequence[Encoded]) -> float:
    """Return how often two windows have the same token at a place, 0 to 1; NaN without two."""
    if len(windows) < 2:
        return math.nan
    ids = np.asarray([one.ids for one in windows])
    same = (ids[:, None] == ids[None]).mean(-1)
    others = ~np.eye(len(ids), dtype=bool)
    return float(same[others].mean())


def _common(lengths: Iterable[int]) -> int:
    """Return the length that three texts in four reach, at most `LONGEST`."""
    ordered = sorted(lengths)
    if not ordered:
        return 0
    return int(min(ordered[int(len(ordered) * (1.0 - REACHED_BY))], LONGEST))


def _beginning(ids: Sequence[int], length: int, special: frozenset[int]) -> list[int]:
    """Return the places of the first tokens; the special ones that end a text replace the last."""
    ending = 0
    while ending < len(ids) and ids[len(ids) - 1 - ending] in special:
        ending += 1
    ending = min(ending, length - 1)
    return [*range(length - ending), *range(len(ids) - ending, len(ids))]


def read_windows(
    model: Model,
    windows: Sequence[Encoded],
    tick: Callable[[float], None],
) -> Windows:
    """Compare the heads over windows from `cut_to_windows`.

    Args:
        model: from `attnviz.load`.
        windows: equally long.
        tick: progress callback; it gets the share that is done.
    """
    if not windows:
        return Windows((), 0, {}, {}, {}, {}, {})
    size = max(batch_tokens(model) // max(len(windows[0].ids), 1), 1)
    maps: dict[Kind, list[Float[np.ndarray, "layer head query key"]]] = {}
    rows: dict[Kind, np.ndarray] = {}
    masks: dict[Kind, np.ndarray] = {}
    cosines: dict[Kind, list[Float[np.ndarray, "layer head head"]]] = {}
    received: dict[Kind, list[Float[np.ndarray, "layer head key"]]] = {}
    for start in range(0, len(windows), size):
        cosine = AddedCosines(model)
        part = list(windows[start : start + size])
        with following(cosine.additions):
            captures = capture_ids(model, part, keep="qkv", predict=False)
        for number, capture in enumerate(captures):
            for kind, stack in capture.stacks.items():
                layers, heads, _, _ = stack.shape
                weights = [
                    [stack.weights(layer, head) for head in range(heads)] for layer in range(layers)
                ]
                maps.setdefault(kind, []).append(np.asarray(weights, np.float32))
                rows[kind] = stack.visible > 1
                masks[kind] = np.stack(
                    [one.visibility.table()[0].cpu().numpy() for one in stack.layers]
                )
                received.setdefault(kind, []).append(metrics.received(stack))
                cosines.setdefault(kind, []).append(cosine.table(kind, number, layers, heads))
        tick(0.4 * min(start + size, len(windows)) / len(windows))
    dependence: dict[Kind, Intervals] = {}
    distance: dict[Kind, Float[np.ndarray, "layer head head text"]] = {}
    layers_in_all = sum(len(per_window[0]) for per_window in maps.values())
    done = 0
    for kind, per_window in maps.items():
        mutual, apart = [], []
        for layer, choice in enumerate(rows[kind]):
            even = _normalised(np.stack([one[layer][:, choice] for one in per_window], 1))
            mutual.append([content_dependence(head) for head in even])
            apart.append(_distances(even))
            done += 1
            tick(0.4 + 0.6 * done / layers_in_all)
        dependence[kind] = _table(mutual)
        distance[kind] = np.stack(apart)
    return Windows(
        (len(windows[0].ids), *([len(windows[0].target)] if windows[0].target else [])),
        len(windows),
        dependence,
        distance,
        {kind: np.stack(tables, -1) for kind, tables in cosines.items()},
        {kind: np.mean(tables, 0) for kind, tables in received.items()},
        {
            kind: read_fixed_places(model, kind, windows, per_window, masks[kind])
            for kind, per_window in maps.items()
        },
    )


def content_dependence(
    weights: Float[np.ndarray, "text query key"],
) -> tuple[float, float, float, float, int]:
    """Return the mutual information of text and key: mean, low, high, spread, number of texts.

    Per row, H(mean over texts of A_t) - mean over texts of H(A_t), averaged over rows, in nats: how
    much the text decides which keys a row looks at. 0 for a head whose rows are the same for every
    text (a previous-token head, a uniform one, one that rests on the first key); at most
    ln(number of texts) in the population.

    The plain number is too small when there are few texts: the mean over T texts is nearer to each
    of them than the mean over all texts. The jackknife removes the part of this bias that falls
    with 1 / T: T times the number minus T - 1 times the mean of the numbers without one text each
    (Quenouille 1956). The interval is that mean of pseudo-values, plus and minus Student's 97.5%
    quantile times their standard error (Tukey 1958). `benchmarks/interval_coverage.py` measures how
    often it covers the truth.

    The spread is that of the texts' parts, the divergence of A_t from the mean.

    Args:
        weights: rows that sum to one, over equal places.
    """
    texts, rows, keys = weights.shape
    if texts < 2 or not rows:
        return np.nan, np.nan, np.nan, np.nan, texts
    flat = weights.reshape(texts, rows * keys).astype(np.float64)
    entropies = -_xlogx(flat).sum(-1) / rows  # (text)
    mean = flat.mean(0)
    whole = float(-_xlogx(mean).sum() / rows - entropies.mean())
    without = np.maximum((texts * mean - flat) / (texts - 1), 0.0)  # (text, query * key)
    left = (entropies.sum() - entropies) / (texts - 1)
    pseudo = texts * whole - (texts - 1) * (-_xlogx(without).sum(-1) / rows - left)
    reach = t_quantile(texts - 1) * float(pseudo.std(ddof=1)) / math.sqrt(texts)
    corrected = float(pseudo.mean())
    with np.errstate(divide="ignore"):
        surprise = np.where(mean > 0, -np.log(np.where(mean > 0, mean, 1.0)), 0.0)
    parts = flat @ surprise / rows - entropies  # their mean is H(mean) - mean H
    bounds = (max(number, 0.0) for number in (corrected, corrected - reach, corrected + reach))
    return (*bounds, float(parts.std(ddof=1)), texts)


def _table(cells: list[list[tuple[float, float, float, float, int]]]) -> Intervals:
    numbers = np.asarray([[cell[:4] for cell in row] for row in cells])
    texts = np.asarray([[cell[4] for cell in row] for row in cells])
    mean, low, high, spread = np.moveaxis(numbers, -1, 0)
    return Intervals(mean, low, high, spread, texts)


def _distances(
    weights: Float[np.ndarray, "head text query key"],
) -> Float[np.ndarray, "head head text"]:
    """Return the Jensen-Shannon divergence between the heads of a layer, nats, mean over rows."""
    heads, texts, rows, _ = weights.shape
    distances = np.zeros((heads, heads, texts), np.float32)
    if not rows:
        return np.full_like(distances, np.nan)
    entropy = -_xlogx(weights).sum(-1)
    for head in range(heads):
        middle = -_xlogx((weights[head] + weights[head:]) / 2).sum(-1)
        apart = (middle - (entropy[head] + entropy[head:]) / 2).mean(-1)
        distances[head, head:] = distances[head:, head] = np.clip(apart, 0.0, np.log(2))
    return distances


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Return rows that sum to one, where a learned sink takes a part of them."""
    total = weights.sum(-1, keepdims=True)
    result: np.ndarray = weights / np.where(total > 0, total, 1.0)
    return result


def _xlogx(numbers: np.ndarray) -> np.ndarray:
    result: np.ndarray = numbers * np.log(np.where(numbers > 0, numbers, 1.0))
    return result

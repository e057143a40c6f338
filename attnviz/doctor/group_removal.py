"""Removal of several heads at once: pairs, copies, and heads with the same function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attnviz.doctor.labels.head_groups import GroupRemoval, HeadGroup, copies, same_function
from attnviz.doctor.labels.rules import Experiments, findings
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.bootstrap import ratios
from attnviz.errors import AttnvizError
from attnviz.experiments.ablation import ablate_groups
from attnviz.experiments.loss_examples import Example
from attnviz.experiments.repetition import repeated_examples
from attnviz.findings import HeadFunction, Interval, Replacement
from attnviz.models import Model
from attnviz.removals import prunable_heads
from attnviz.types import Head

__all__ = ["remove_groups", "remove_listed"]

MOST_PAIRS = 64
PAIR_DISTANCE = 0.15
PAIR_COSINE = 0.6
"""Pairs within these limits are removed: wider than the rule, so that its limits can be moved."""

REPEATING = (HeadFunction.INDUCTION, HeadFunction.DUPLICATE)
"""Functions that are also tested where random tokens repeat."""


def remove_groups(
    model: Model,
    read: Sequence[Example],
    measured: Measures,
    removed: Experiments,
    way: Replacement,
    limits: Thresholds,
    seed: int,
    progress: Callable[[float], None],
) -> tuple[dict[tuple[Head, Head], Interval], tuple[GroupRemoval, ...]]:
    """Return the changes of the loss without similar pairs and without groups.

    Of a group, all heads but the one that costs most alone are removed, and all of them.

    Args:
        model: from `attnviz.load`.
        read: the texts as the model reads them.
        measured: measures of all heads.
        removed: changes of the loss without single heads.
        way: replacement of the heads' outputs.
        limits: thresholds of the rules that find the groups.
        seed: of the bootstrap and of random tokens.
        progress: callback for the finished share.
    """
    pairs = _similar(measured)
    groups = [*copies(measured, limits), *same_function(findings(measured, limits, removed))]
    kept = [max(one.heads, key=lambda head: removed.of(head)[way].mean) for one in groups]
    sets: list[tuple[Head, ...]] = list(pairs)
    for group, stays in zip(groups, kept, strict=True):
        sets += [_without(group, stays), group.heads]
    if not sets:
        return {}, ()
    costs = _costs(model, read, sets, way, seed, progress)
    removals = tuple(
        GroupRemoval(
            group,
            stays,
            costs[_without(group, stays)],
            costs[group.heads],
            _repeated(model, group, stays, way, seed),
        )
        for group, stays in zip(groups, kept, strict=True)
    )
    return {pair: costs[pair] for pair in pairs}, removals


def remove_listed(
    model: Model,
    read: Sequence[Example],
    measured: Measures,
    removed: Experiments,
    way: Replacement,
    limits: Thresholds,
    seed: int,
) -> Experiments:
    """Return the experiments with the cost of removing all heads of the list for pruning at once.

    Each of them was removed alone: costs do not add up.
    """
    heads = prunable_heads(findings(measured, limits, removed))
    if len(heads) < 2:
        return replace(removed, pruned=heads)
    cost = _costs(model, read, [heads], way, seed)[heads]
    return replace(removed, pruned=heads, pruning=cost)


def _without(group: HeadGroup, kept: Head) -> tuple[Head, ...]:
    return tuple(one for one in group.heads if one != kept)


def _costs(
    model: Model,
    read: Sequence[Example],
    sets: Sequence[tuple[Head, ...]],
    way: Replacement,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> dict[tuple[Head, ...], Interval]:
    """Return the change of the loss per token without each set of heads."""
    tokens = np.array([one.tokens for one in read], np.float64)
    changes = ablate_groups(model, read, sets, way, progress=progress)
    return {heads: ratios(change, tokens, seed=seed).at() for heads, change in changes.items()}


def _repeated(
    model: Model, group: HeadGroup, kept: Head, way: Replacement, seed: int
) -> tuple[Interval, Interval, Interval] | None:
    """Return the costs where random tokens repeat: of the dearest head, all but one, and all."""
    if group.function not in REPEATING or model.info.family != "decoder":
        return None
    try:
        read = repeated_examples(model, seed=seed)
    except AttnvizError:  # no room for two copies
        return None
    single = [(head,) for head in group.heads]
    costs = _costs(model, read, [*single, _without(group, kept), group.heads], way, seed)
    dearest = max((costs[one] for one in single), key=lambda one: one.mean)
    return dearest, costs[_without(group, kept)], costs[group.heads]


def _similar(measured: Measures) -> list[tuple[Head, Head]]:
    """Return pairs of similar heads of a layer, the most similar first."""
    similar = []
    for kind, pairs in measured.pairs.items():
        apart, parallel = pairs.head_distance.mean, pairs.output_cosine.mean
        for layer, one, other in np.ndindex(apart.shape):
            near = apart[layer, one, other] < PAIR_DISTANCE
            if one < other and near and parallel[layer, one, other] > PAIR_COSINE:
                pair = (Head(kind, layer, one), Head(kind, layer, other))
                similar.append((float(apart[layer, one, other]), pair))
    return [pair for _, pair in sorted(similar)[:MOST_PAIRS]]

"""Effect of patching each head: a part of the clean run goes into the corrupted run.

Parts of a head:

    output   what the head gives before the output projection, at every position
    query    its queries, after rotation
    key      its keys, after rotation; with shared keys those of the whole group
    value    its values; with shared values those of the whole group
    pattern  the clean weights, times the values of the run that is patched

Texts of unequal numbers of tokens are aligned. Then parts are put in at queries, or keys, that have
a partner; queries and keys keep the rotation of their clean position. Of a pattern the weights on
aligned keys are the clean ones, scaled so that keys without a partner keep the weights they have in
the corrupted run.

The effect is the change of a logit difference d, as a share of what separates the two runs:
(d_patched - d_corrupted) / (d_clean - d_corrupted). 0 is the corrupted run and 1 the clean one;
other values, below 0 and above 1, exist. Sources: Vig et al. 2020 (causal mediation by heads), Wang
et al. 2022 (indirect objects, the logit difference), Zhang and Nanda 2023 (this normalisation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import AttentionStack, Places
from attnviz.attention.call_changes import changing
from attnviz.attention.recorder import Call
from attnviz.captures.forward_pass import capture_ids
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import check_head
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, logits_of
from attnviz.models import Model
from attnviz.types import Head, Kind

__all__ = [
    "PARTS",
    "CleanRun",
    "Part",
    "PatchEffects",
    "patch_heads",
    "patch_together",
    "runs_at_once",
]

Part = Literal["output", "query", "key", "value", "pattern"]

PARTS: tuple[Part, ...] = get_args(Part)

COPY_BYTES = 256 << 20
"""About what the logits of the runs of one batch may take."""

MOST_COPIES = 64
"""Most runs of one batch."""

SMALLEST = 1e-4
"""Smallest difference of the two runs, in logits, that effects are shares of."""


@dataclass(frozen=True)
class PatchEffects:
    """Logit differences with one head patched at a time.

    Attributes:
        part: what was patched.
        clean: logit difference of the clean run.
        corrupted: logit difference of the corrupted run.
        patched: by kind, the logit difference with each head patched. Heads that share keys are
            patched together by "key" and "value", and have equal numbers.
    """

    part: Part
    clean: float
    corrupted: float
    patched: Mapping[Kind, Float[np.ndarray, "layer head"]]

    def share(self, kind: Kind) -> Float[np.ndarray, "layer head"]:
        """Return the effects as shares: 0 is the corrupted run, 1 the clean one.

        NaN where the two runs have the same logit difference: nothing separates them.
        """
        apart = self.clean - self.corrupted
        if not abs(apart) > SMALLEST:
            return np.full_like(self.patched[kind], np.nan)
        return (self.patched[kind] - self.corrupted) / apart


def patch_heads(
    model: Model,
    pair: TextPair,
    difference: LogitDifference,
    part: Part = "output",
    *,
    progress: Callable[[float], None] | None = None,
) -> PatchEffects:
    """Patch one head at a time, in every layer, and measure the logit difference.

    >>> import attnviz
    >>> from attnviz.experiments.patching.head_patches import patch_heads
    >>> from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
    >>> from attnviz.models import encode
    >>> model = attnviz.load("gpt-classroom")
    >>> clean, corrupted = (
    ...     encode(model, f"The king saw a {one}. The king saw a") for one in ("dog", "man")
    ... )
    >>> words = [encode(model, f" {one}", begin=False).ids[0] for one in ("dog", "man")]
    >>> effects = patch_heads(model, TextPair(clean, corrupted), LogitDifference(*words))
    >>> effects.share("self").shape
    (4, 8)

    Args:
        model: from `attnviz.load`, with a trained language head.
        pair: two texts; of unequal numbers of tokens, those with a partner are patched.
        difference: logits that are compared, and where.
        part: what is patched.
        progress: callback for the finished share. It may raise to cancel.

    Raises:
        InputError: see `TextPair.check`; an unknown part, token or position.
    """
    clean = CleanRun.of(model, pair, part)
    tasks = _tasks(model, part)
    corrupted, there = logits_of(model, pair.corrupted), pair.in_corrupted(difference)
    room = runs_at_once(corrupted)
    patched = {kind: np.full(size, np.nan) for kind, size in model.info.heads.items()}
    for start in range(0, len(tasks), room):
        group = tasks[start : start + room]
        patch = _Patch(model.sites.places(), clean, group)
        with changing(patch):
            logits = logits_of(model, pair.corrupted, len(group))
        for heads, value in zip(group, there.of(logits).tolist(), strict=True):
            for head in heads:
                patched[head.kind][head.layer, head.head] = value
        if progress is not None:
            progress(min(start + room, len(tasks)) / len(tasks))
    before = float(there.of(corrupted)[0])
    return PatchEffects(part, float(difference.of(clean.logits)[0]), before, patched)


def patch_together(
    model: Model,
    pair: TextPair,
    difference: LogitDifference,
    heads: Sequence[Head],
    part: Part = "output",
) -> float:
    """Return the logit difference with several heads patched in one run.

    Raises:
        InputError: as `patch_heads`, or no such head.
    """
    for head in heads:
        check_head(model, head)
    clean, there = CleanRun.of(model, pair, part), pair.in_corrupted(difference)
    with changing(_Patch(model.sites.places(), clean, [tuple(heads)])):
        return float(there.of(logits_of(model, pair.corrupted))[0])


def runs_at_once(logits: Float[Tensor, "1 position word"]) -> int:
    """Return how many runs with such logits make a batch."""
    return max(1, min(MOST_COPIES, COPY_BYTES // (logits[0].numel() * 4)))


def _tasks(model: Model, part: Part) -> list[tuple[Head, ...]]:
    """Return the heads of each patch: one, or those that share the keys that are patched."""
    tasks = []
    for kind, (layers, heads) in model.info.heads.items():
        size = heads // model.info.key_heads[kind] if part in ("key", "value") else 1
        for layer in range(layers):
            for first in range(0, heads, size):
                tasks.append(tuple(Head(kind, layer, first + at) for at in range(size)))
    return tasks


@dataclass
class CleanRun:
    """Parts of the clean run, by kind and layer, and its logits.

    Attributes:
        part: which part.
        pair: the two texts.
        logits: of the run, [1, position, word].
        parts: head axis first: [head, position, dim]; or weights [head, query, key] of the
            corrupted text, with those of the clean one on aligned keys.
    """

    part: Part
    pair: TextPair
    places: Places
    logits: Float[Tensor, "1 position word"] = field(init=False)
    parts: dict[tuple[Kind, int], Float[Tensor, "head position dim"]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, pair: TextPair, part: Part) -> CleanRun:
        """Run a model on the clean text of a pair, and keep one part of every head.

        Raises:
            InputError: an unknown part, or a pair that cannot be patched.
        """
        if part not in PARTS:
            raise InputError(f"a part of a head is one of {', '.join(PARTS)}, not {part!r}")
        pair.check(model)
        run = cls(part, pair, model.sites.places())
        with changing(run):
            run.logits = logits_of(model, pair.clean)
        if part == "pattern":
            clean, corrupted = (
                capture_ids(model, [one], predict=False)[0] for one in (pair.clean, pair.corrupted)
            )
            for kind, (layers, _) in model.info.heads.items():
                for layer in range(layers):
                    weights = _weights_put_in(pair, clean[kind], corrupted[kind], layer)
                    run.parts[kind, layer] = weights.to(run.logits.device)
        return run

    def call(self, call: Call) -> Call:
        """Keep queries, keys or values; return the same call."""
        place = self.places.of(call) if self.part in ("query", "key", "value") else None
        if place is not None:
            self.parts[place] = getattr(call, self.part)[0].clone()
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Keep the outputs; return them unchanged."""
        place = self.places.of(call) if self.part == "output" else None
        if place is not None:
            self.parts[place] = output[0].transpose(0, 1).clone()
        return output


def _weights_put_in(
    pair: TextPair, clean: AttentionStack, corrupted: AttentionStack, layer: int
) -> Float[Tensor, "head query key"]:
    """Return the weights of a layer on the corrupted text, clean ones on aligned keys."""
    queries, keys = pair.queries(clean.kind), pair.keys(clean.kind)
    weights = torch.stack([_weights(corrupted, layer, head) for head in range(clean.shape[1])])
    rows, columns = np.ix_(queries.clean, keys.clean), np.ix_(queries.corrupted, keys.corrupted)
    for head in range(clean.shape[1]):
        carried = _weights(clean, layer, head)[rows]
        if not (queries.whole and keys.whole):
            hidden = np.isneginf(corrupted.scores(layer, head)[columns])
            carried[torch.from_numpy(hidden)] = 0
            before = weights[head][columns]
            share = before.sum(-1, keepdim=True) / carried.sum(-1, keepdim=True)
            carried = torch.where(share.isfinite(), carried * share, before)
        weights[head][columns] = carried
    return weights


def _weights(stack: AttentionStack, layer: int, head: int) -> Float[Tensor, "query key"]:
    """Return the weights of a head; a copy."""
    return torch.from_numpy(stack.weights(layer, head).copy())


class _Patch:
    """Change of attention calls: each run of the batch has other heads from the clean run."""

    def __init__(self, places: Places, clean: CleanRun, tasks: Sequence[Sequence[Head]]) -> None:
        self.places = places
        self.clean = clean
        self.of_layer: dict[tuple[Kind, int], list[tuple[int, int]]] = {}
        for copy, heads in enumerate(tasks):
            for head in heads:
                self.of_layer.setdefault((head.kind, head.layer), []).append((copy, head.head))

    def call(self, call: Call) -> Call:
        """Return the call with queries, keys or values of the clean run."""
        part = self.clean.part
        place = self.places.of(call) if part in ("query", "key", "value") else None
        if place not in self.of_layer:
            return call
        changed = getattr(call, part).clone()
        group = call.query.shape[1] // changed.shape[1]  # query heads per head of this part
        pair = self.clean.pair
        there = pair.queries(place[0]) if part == "query" else pair.keys(place[0])
        for copy, head in self.of_layer[place]:
            given = self.clean.parts[place][head // group]
            changed[copy, head // group, there.corrupted] = given[there.clean]
        return replace(call, **{part: changed})

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output with heads of the clean run, or with their weights."""
        part = self.clean.part
        place = self.places.of(call) if part in ("output", "pattern") else None
        if place not in self.of_layer:
            return output
        changed = output.clone()
        group = call.query.shape[1] // call.value.shape[1]
        there = self.clean.pair.queries(place[0])
        for copy, head in self.of_layer[place]:
            given = self.clean.parts[place][head]
            if part == "pattern":
                given = given[there.corrupted] @ call.value[copy, head // group].float()
            else:
                given = given[there.clean]
            changed[copy, there.corrupted, head] = given.to(output.dtype)
        return changed

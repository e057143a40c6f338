"""Loss of a text as a function of the tokens or the bits that the cache keeps, and its break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from attnviz.errors import InputError
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cut_losses import run_with_cuts
from attnviz.models import Model

__all__ = ["GROUP", "BudgetLosses", "Rule", "budget_losses"]

Rule = Literal["window", "first", "heavy", "round", "other axes"]
"""Rules of `CacheCut`; "other axes" rounds keys per token and values per channel."""

GROUP = 8
"""Tokens of a group that is rounded: few, so that a short text has many groups."""


@dataclass(frozen=True, eq=False)
class BudgetLosses:
    """Mean loss at each budget.

    Attributes:
        budgets: tokens that a query sees, or bits of a number, ascending.
        losses: mean loss of the measured tokens at each budget, nats.
        whole: that of the whole cache.
        measured: number of tokens whose loss is averaged.
    """

    budgets: Int[np.ndarray, " budget"]
    losses: Float[np.ndarray, " budget"]
    whole: float
    measured: int

    def breaks_below(self, allowed: float) -> int | None:
        """Return the smallest budget from which on the loss stays within `allowed` nats.

        All larger budgets stay within it too; None if the largest does not.
        """
        within = self.losses <= self.whole + allowed
        kept = np.cumprod(within[::-1])[::-1].astype(bool)
        return int(self.budgets[kept][0]) if kept.any() else None


def budget_losses(
    model: Model,
    ids: Sequence[int],
    rule: Rule,
    budgets: Sequence[int],
    *,
    start: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BudgetLosses:
    """Read a text once with the whole cache and once per budget.

    Args:
        model: a decoder with a trained language head.
        ids: from `encode`.
        rule: what is dropped or rounded.
        budgets: tokens kept, or bits per number where the rule rounds (2, 4, 8); ascending.
        start: position of the first token whose loss counts; half of the text when None, so that
            every budget below has dropped tokens.
        progress: callback with tokens read and all tokens; may raise to cancel.

    Raises:
        InputError: no budget, budgets that do not ascend, or other bits.
    """
    if not budgets or sorted(set(budgets)) != list(budgets):
        raise InputError(f"budgets are numbers that ascend, not {list(budgets)}")
    first = len(ids) // 2 if start is None else start
    if not 1 <= first < len(ids):
        raise InputError(f"a text of {len(ids)} tokens has no losses from token {first} on")
    whole, *runs = run_with_cuts(
        model, ids, [_cut(rule, one) for one in budgets], progress=progress
    )
    return BudgetLosses(
        np.array(budgets),
        # the loss at place i is that of token i + 1
        np.array([run.losses[first - 1 :].mean() for run in runs]),
        float(whole.losses[first - 1 :].mean()),
        len(ids) - first,
    )


def _cut(rule: Rule, budget: int) -> CacheCut:
    if rule == "round":
        return CacheCut("round", bits=budget, group=GROUP)
    if rule == "other axes":
        return CacheCut("round", bits=budget, group=GROUP, key_axis="token", value_axis="channel")
    return CacheCut(rule, budget)

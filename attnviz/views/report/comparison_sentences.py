"""Headline of a comparison of two models: losses, harmful heads, changed labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attnviz.findings import Finding
from attnviz.removals import removal_cost
from attnviz.types import Head
from attnviz.views.report.summary_sentences import (
    SEVERE,
    head_count,
    named_heads,
)
from attnviz.word_lists import joined
from attnviz.written_numbers import nats, signed_nats

__all__ = ["comparison_sentences"]

SHOWN = 6  # changes that are written out, and harmful heads that are named


def comparison_sentences(
    loss: str,
    changes: Sequence[str],
    *,
    close: int,
    heads: int,
    lost: int,
    recovered: int,
    harmful: Sequence[tuple[Finding, Finding]] = (),
    broken: Sequence[str] = (),
    saturated: Sequence[Finding] = (),
    moved: tuple[Head, float, float] | None = None,
) -> tuple[str, ...]:
    """Return the headline of a comparison, most important sentence first.

    Args:
        loss: the losses of both models in a sentence; empty if there are none.
        changes: a sentence per head whose label has clearly changed.
        close: heads with another label whose interval contains the limit.
        heads: number of heads.
        lost: heads that became degenerate.
        recovered: heads that were degenerate and without use, and are needed now.
        harmful: heads without which only the second model is better, before and after; the most
            harmful first.
        broken: sentences on NaN and infinity in either model.
        saturated: heads with a saturated softmax in the second model only.
        moved: the head that moved furthest, its divergence and entropy shift in nats; None if no
            head has moved.
    """
    labels = []
    if changes:
        has = "has" if len(changes) == 1 else "have"
        labels.append(f"{len(changes)} of {head_count(heads)} {has} another label.")
        labels.append(f"{lost or 'None'} became degenerate, {recovered or 'none'} recovered.")
    else:
        labels.append(f"No head has {'clearly ' if close else ''}changed its label.")
    harm = _harmful(harmful) if harmful else []
    severe = bool(harmful) and removal_cost(harmful[0][1]) < -SEVERE
    said = [*([loss] if loss else []), *broken, *(harm + labels if severe else labels + harm)]
    said += changes[:SHOWN]
    if len(changes) > SHOWN:
        said.append(f"And {len(changes) - SHOWN} more.")
    if saturated:
        names = named_heads(saturated)
        said.append(f"Saturated now: {names}: one key gets nearly all of each row's weight.")
    if moved is not None:
        said.append(_moved(*moved))
    if close:
        more = " more" if changes else ""
        said.append(
            f"{close}{more} {'head has' if close == 1 else 'heads have'} another label as a close "
            "call: the intervals contain the limit."
        )
    return tuple(said)


def _moved(head: Head, divergence: float, shift: float) -> str:
    """Return which head moved furthest, and whether its rows became sharper or more even."""
    said = (
        f"{head.label} moved furthest: its rows differ by {nats(divergence)} nats of at most 0.69"
    )
    if not math.isfinite(shift) or abs(shift) < 0.005:
        return f"{said}."
    how = "lower: they are sharper" if shift < 0 else "higher: they are more even"
    return f"{said}, and their entropy is {nats(abs(shift))} nats {how}."


def _harmful(pairs: Sequence[tuple[Finding, Finding]]) -> list[str]:
    """Return how many heads do harm in the second model only, and their names with both costs."""
    names = [
        f"{after.head.label} ({signed_nats(removal_cost(before))} before, "
        f"{signed_nats(removal_cost(after))} now)"
        for before, after in pairs[:SHOWN]
    ]
    if len(pairs) > SHOWN:
        names.append(f"{len(pairs) - SHOWN} more")
    has, them = ("has", "it") if len(pairs) == 1 else ("have", "each of them")
    return [
        f"{head_count(len(pairs))} {has} become harmful: the loss falls without {them}.",
        f"Harmful now: {joined(names)}.",
    ]

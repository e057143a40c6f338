"""Headline of a comparison of two models: losses, then changed labels."""

from __future__ import annotations

from collections.abc import Sequence

from attnviz.views.report.summary_sentences import head_count

__all__ = ["comparison_sentences"]

SHOWN = 6  # changes that are written out


def comparison_sentences(
    loss: str, changes: Sequence[str], *, close: int, heads: int, lost: int, recovered: int
) -> tuple[str, ...]:
    """Return the headline of a comparison, most important sentence first.

    Args:
        loss: the losses of both models in a sentence; empty if there are none.
        changes: a sentence per head whose label has clearly changed.
        close: heads with another label whose interval contains the limit.
        heads: number of heads.
        lost: heads that became degenerate.
        recovered: heads that were degenerate and without use, and are needed now.
    """
    said = [loss] if loss else []
    if changes:
        has = "has" if len(changes) == 1 else "have"
        said.append(f"{len(changes)} of {head_count(heads)} {has} another label.")
        said.append(f"{lost or 'None'} became degenerate, {recovered or 'none'} recovered.")
        said += changes[:SHOWN]
        if len(changes) > SHOWN:
            said.append(f"And {len(changes) - SHOWN} more.")
    else:
        said.append(f"No head has {'clearly ' if close else ''}changed its label.")
    if close:
        more = " more" if changes else ""
        said.append(
            f"{close}{more} {'head has' if close == 1 else 'heads have'} another label as a close "
            "call: the intervals contain the limit."
        )
    return tuple(said)

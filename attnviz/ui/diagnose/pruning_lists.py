"""Lists of heads by the effect of their removal."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.doctor.labels.number_words import joined
from attnviz.doctor.pruning import kept_heads, removals
from attnviz.findings import Finding
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views.report.summary_sentences import head_count, removal_cost, signed

__all__ = ["pruning_lists"]

NAMED = 10


def pruning_lists(diagnosis: Diagnosis) -> None:
    """Show the heads by the effect of their removal; nothing without removals."""
    effects = removals(diagnosis.findings)
    if len(effects.not_tested) == len(diagnosis.findings):
        return
    st.subheader("What removing heads showed", anchor=False)
    st.caption("In parentheses: the change of the loss without the head, nats per token.")
    for words, findings in (
        ("Better without", effects.better_without),
        ("No difference, may be pruned", effects.no_difference),
        ("Needed", tuple(reversed(effects.needed))),
        ("Unclear, more texts would tell", effects.unclear),
    ):
        if findings:
            show_plain(Strong(f"{words}: {head_count(len(findings))}. "), _named(findings))
    kept = sorted(kept_heads(diagnosis.findings), key=lambda head: (head.layer, head.head))
    if kept:
        show_plain(
            f"Keep {joined([head.label for head in kept])}: other heads do the same, and one of "
            "each group is needed. The list for pruning (Save) leaves them out."
        )


def _named(findings: Sequence[Finding]) -> str:
    said = [f"{one.head.label} ({signed(removal_cost(one))})" for one in findings[:NAMED]]
    more = f", and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    return ", ".join(said) + more

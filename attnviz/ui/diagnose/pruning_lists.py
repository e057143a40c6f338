"""Lists of heads by the effect of their removal, with a file for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.doctor.labels.number_words import joined
from attnviz.doctor.pruning import kept_heads, pruning_file, removals
from attnviz.findings import Finding
from attnviz.ui.components.figures_and_tables import file_download
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views.report.summary_sentences import head_count, removal_cost
from attnviz.views.style.plotly_config import safe_filename

__all__ = ["pruning_lists"]

NAMED = 10


def pruning_lists(diagnosis: Diagnosis) -> None:
    """Show the heads by the effect of their removal; nothing without removals."""
    found = removals(diagnosis.findings)
    if len(found.not_tested) == len(diagnosis.findings):
        return
    st.subheader("What removing heads showed", anchor=False)
    for words, findings in (
        ("Better without", found.better_without),
        ("No difference, may be pruned", found.no_difference),
        ("Needed", tuple(reversed(found.needed))),
        ("Unclear: more texts would tell", found.unclear),
    ):
        if findings:
            show_plain(Strong(f"{words}: {head_count(len(findings))}. "), _named(findings))
    kept = sorted(kept_heads(diagnosis.findings), key=lambda head: (head.layer, head.head))
    if kept:
        show_plain(
            f"Keep {joined([head.label for head in kept])}: other heads do the same, and one of "
            "each group is needed. The file leaves them out."
        )
    file_download(
        "Heads to prune (JSON)",
        lambda: json.dumps(pruning_file(diagnosis), indent=1).encode(),
        filename=f"{safe_filename(f'attnviz-prune-{diagnosis.model.name}')}.json",
        mime="application/json",
        key="diagnosis:prune",
        icon=":material/content_cut:",
        explanation="Layers and heads whose removal lowers the loss or makes no difference, as a "
        "list of heads per layer. Each was removed alone: measure the cost of removing all of "
        "them.",
    )


def _named(findings: Sequence[Finding]) -> str:
    said = [f"{one.head.label} ({removal_cost(one):+.3f})" for one in findings[:NAMED]]
    more = f", and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    return ", ".join(said) + more + " nats per token"

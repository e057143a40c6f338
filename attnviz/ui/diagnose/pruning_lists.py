"""Lists of heads by the effect of their removal, and groups of heads that do the same."""

from __future__ import annotations

import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views.report.removal_lists import kept_sentence, removal_lists

__all__ = ["pruning_lists"]


def pruning_lists(diagnosis: Diagnosis) -> None:
    """Show the heads by the effect of their removal; nothing without removals."""
    lists = removal_lists(diagnosis.findings)
    if not lists:
        return
    st.header("What removing heads showed", anchor=False)
    st.caption("In parentheses: the change of the loss without the head, nats per token.")
    for title, names in lists:
        show_plain(Strong(f"{title} "), names)
    kept = kept_sentence(diagnosis.findings)
    if kept:
        show_plain(kept)
    if diagnosis.pruning:
        show_plain(diagnosis.pruning)
    for sentence in diagnosis.groups:
        show_plain(Strong("Together: "), sentence)

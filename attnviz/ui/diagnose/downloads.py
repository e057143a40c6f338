"""Downloads of a diagnosis: report, table and JSON."""

from __future__ import annotations

import json

import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.views.style.plotly_config import safe_filename

__all__ = ["downloads"]


def downloads(diagnosis: Diagnosis) -> None:
    """Show three buttons; each file is made on a click."""
    name = safe_filename(f"attnviz-diagnosis-{diagnosis.model.name}")
    digest = diagnosis.texts.digest[:8]
    columns = st.columns([2, 1, 1, 3])
    columns[0].download_button(
        "Report (HTML)",
        lambda: diagnosis.html().encode(),
        file_name=f"{name}-{digest}.html",
        mime="text/html",
        key="diagnosis:html",
        icon=":material/description:",
        on_click="ignore",
        width="stretch",
        help="One file that opens without a network, in light and dark, and prints. Your texts are "
        "not in it, only their number and their digest.",
    )
    columns[1].download_button(
        "CSV",
        lambda: diagnosis.csv().encode("utf-8-sig"),
        file_name=f"{name}-{digest}.csv",
        mime="text/csv",
        key="diagnosis:csv",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
        help="A line per head with every number, and what is needed to make it again.",
    )
    columns[2].download_button(
        "JSON",
        lambda: json.dumps(diagnosis.plain(), ensure_ascii=False, allow_nan=False).encode(),
        file_name=f"{name}-{digest}.json",
        mime="application/json",
        key="diagnosis:json",
        icon=":material/data_object:",
        on_click="ignore",
        width="stretch",
        help="Everything that was measured and decided, for programs.",
    )

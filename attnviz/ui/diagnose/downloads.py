"""Downloads of a diagnosis: report, table and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.ui.components.figures_and_tables import file_download
from attnviz.views.style.plotly_config import safe_filename

__all__ = ["downloads", "report_download"]


def downloads(diagnosis: Diagnosis) -> None:
    """Show three buttons; each file is made on a click."""
    name = safe_filename(f"attnviz-diagnosis-{diagnosis.model.name}")
    digest = diagnosis.texts.digest[:8]
    columns = st.columns([2, 1, 1, 3])
    with columns[0]:
        report_download(
            diagnosis.html, key="diagnosis:html", filename=f"{name}-{digest}", framed=True
        )
    with columns[1]:
        file_download(
            "CSV",
            lambda: diagnosis.csv().encode("utf-8-sig"),
            key="diagnosis:csv",
            filename=f"{name}-{digest}.csv",
            mime="text/csv",
            explanation="A line per head with every number, and what is needed to make it again.",
            framed=True,
        )
    with columns[2]:
        file_download(
            "JSON",
            lambda: json.dumps(diagnosis.plain(), ensure_ascii=False, allow_nan=False).encode(),
            key="diagnosis:json",
            filename=f"{name}-{digest}.json",
            mime="application/json",
            icon=":material/data_object:",
            explanation="Everything that was measured and decided, for programs.",
            framed=True,
        )


def report_download(
    html: Callable[[], str], *, key: str, filename: str, framed: bool = False
) -> None:
    """Show a button that saves a report; `filename` has no ending."""
    file_download(
        "Report (HTML)",
        lambda: html().encode(),
        key=key,
        filename=f"{filename}.html",
        mime="text/html",
        icon=":material/description:",
        explanation="One file that opens without a network, in light and dark, and prints. Your "
        "texts are not in it, only their number and their digest.",
        framed=framed,
    )

"""Status page: how busy the server is, for a teacher; it shows no texts and no names."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from attnviz.ui.server.load_report import Report, reports

__all__ = ["STATUS", "status_page"]

STATUS = "status"
"""The page's address."""


@st.fragment(run_every=2.0)
def status_page() -> None:
    """Show the sums over all processes, and each process in a table."""
    processes = reports()

    def total(name: str) -> int:
        return sum(getattr(one, name) for one in processes)

    st.header("Status of this server", anchor=False)
    for column, (label, names) in zip(
        st.columns(4),
        {
            "Open pages": ("people",),
            "Requests waiting": ("waiting",),
            "Long work": ("long", "loading", "diagnoses"),
            "Memory (MB)": ("megabytes",),
        }.items(),
        strict=True,
    ):
        column.metric(label, f"{sum(total(name) for name in names):,}")
    st.dataframe(pd.DataFrame([_row(one) for one in processes]), hide_index=True)
    st.caption(
        "Long work: texts, models and diagnoses that take longer than a second; they never delay "
        "short requests. The address /_stcore/health answers “ok” while the server works."
    )


def _row(one: Report) -> dict[str, int]:
    return {
        "Process": one.process,
        "Open pages": one.people,
        "Computing": one.running,
        "Waiting": one.waiting,
        "Long texts": one.long,
        "Models loading": one.loading,
        "Diagnoses": one.diagnoses,
        "Proofs waiting": one.proofs,
        "Memory (MB)": one.megabytes,
    }

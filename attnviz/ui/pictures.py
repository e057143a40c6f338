"""Figures and tables on a page, each with its downloads."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from attnviz.ui.picture_buttons import picture_buttons
from attnviz.ui.theme import current_theme
from attnviz.views import plot_config

__all__ = ["show_picture", "show_table", "table_download"]


def show_picture(figure: go.Figure, *, key: str, filename: str, alt: str) -> None:
    """A figure in its column, with buttons that save it as SVG and as PNG.

    `alt` says in words what it shows, to people who do not see it.
    """
    # A map has a width at which its cells are square; bars and lines take what there is.
    width = figure.layout.width
    st.plotly_chart(
        figure,
        width=int(width) if width else "stretch",
        key=key,
        theme=None,
        config=plot_config(filename),
        alt=alt,
    )
    picture_buttons(key, filename, theme=current_theme())


def show_table(table: pd.DataFrame, *, key: str, filename: str) -> None:
    """A table that sorts and searches, with its CSV below."""
    st.dataframe(table, key=key, hide_index=True)
    table_download(table, key=f"{key}:csv", filename=filename)


def table_download(
    table: pd.DataFrame, *, key: str, filename: str, label: str = "CSV", index: bool = False
) -> None:
    """A button that saves a table as CSV, UTF-8 with a mark so that spreadsheets read accents."""
    st.download_button(
        label,
        lambda: table.to_csv(index=index).encode("utf-8-sig"),
        file_name=f"{filename}.csv",
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        type="tertiary",
    )

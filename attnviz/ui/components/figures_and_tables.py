"""Figures and tables on a page, each with its downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from attnviz.spreadsheets import as_csv
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.picture_buttons import picture_buttons
from attnviz.views import plot_config

__all__ = ["file_download", "known_columns", "show_picture", "show_table", "table_download"]


def show_picture(
    figure: go.Figure,
    *,
    key: str,
    filename: str,
    alt: str,
    on_click: Callable[[], None] | None = None,
    saved_in_menu: bool = False,
) -> None:
    """Show a figure in its column, with buttons that save it as SVG and as PNG.

    Args:
        figure: what to show.
        key: the widget's; what was clicked is in the session under it.
        filename: of the files, without an ending.
        alt: what it shows in words, for people who do not see it.
        on_click: called before the page is drawn again when a point was clicked; such a figure
            takes the width of its column, and has no modebar over its cells.
        saved_in_menu: the page's menu saves it (`save_menu`): no buttons here.
    """
    # A map has a width at which its cells are square; bars and lines take what there is.
    width = figure.layout.width
    if on_click:
        width = None
        # Streamlit adds this only after the first drawing, and loses it again when that drawing
        # reports its layout late: clicks then did nothing.
        figure.layout["clickmode"] = "event+select"
    st.plotly_chart(
        figure,
        width=int(width) if width else "stretch",
        key=key,
        theme=None,
        config=plot_config(filename) | ({"displayModeBar": False} if on_click else {}),
        alt=alt,
        on_select=on_click or "ignore",
        selection_mode="points",
    )
    if not saved_in_menu:
        picture_buttons(key, filename, theme=current_theme())


def known_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the columns that hold no value: Streamlit would show "None"."""
    return table.dropna(axis=1, how="all")


def show_table(
    table: pd.DataFrame,
    *,
    key: str,
    filename: str,
    labels: Mapping[str, str] | None = None,
    lines: int = 1,
) -> None:
    """Show a table that sorts and searches, with its CSV below.

    Args:
        table: the rows.
        key: the widget's.
        filename: of the CSV, without ending.
        labels: what is written above a column; its name where there is none.
        lines: of text in a row; longer texts are wrapped.
    """
    st.dataframe(
        table,
        key=key,
        hide_index=True,
        column_config={name: label for name, label in (labels or {}).items() if name in table},
        row_height=None if lines == 1 else 12 + 22 * lines,
    )
    table_download(table, key=f"{key}:csv", filename=filename)


def table_download(
    table: pd.DataFrame, *, key: str, filename: str, label: str = "CSV", index: bool = False
) -> None:
    """Show a button that saves a table as CSV.

    UTF-8 with a byte order mark, so that spreadsheets read accents.
    """
    file_download(
        label,
        lambda: as_csv(table, index=index).encode("utf-8-sig"),
        key=key,
        filename=f"{filename}.csv",
        mime="text/csv",
    )


def file_download(
    label: str,
    content: Callable[[], bytes],
    *,
    key: str,
    filename: str,
    mime: str,
    icon: str = ":material/download:",
    explanation: str | None = None,
    framed: bool = False,
    disabled: bool = False,
) -> None:
    """Show a button that saves a file; the file is made on a click, and the page stays.

    Args:
        label: of the button.
        content: returns the file.
        key: the widget's.
        filename: of the file, with its ending.
        mime: type of the file.
        icon: as Streamlit names it.
        explanation: shown on hover.
        framed: draw a frame, and use the width of the column.
        disabled: the button does nothing.
    """
    st.download_button(
        label,
        content,
        file_name=filename,
        mime=mime,
        key=key,
        icon=icon,
        on_click="ignore",
        type="secondary" if framed else "tertiary",
        width="stretch" if framed else "content",
        disabled=disabled,
        help=explanation,
    )

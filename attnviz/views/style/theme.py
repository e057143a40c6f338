"""Colours and type for both themes: one look for every figure.

The scales are built in Oklab with even steps of lightness, so equal differences in a number look
equally large. Sequential scales start at the tone of the page, where nothing is drawn, and end in
the strongest contrast: dark on light, luminous on dark. Diverging scales run from blue through the
page's tone to orange, and the categorical set is Okabe and Ito's; both survive the common forms
of colour blindness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import plotly.graph_objects as go

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label

__all__ = [
    "FONT_FAMILY",
    "Palette",
    "Theme",
    "apply",
    "colorscale",
    "heading",
    "palette",
    "style",
]

Theme = Literal["light", "dark"]
"""Which page the figure is drawn for; figures have a transparent ground."""

FONT_FAMILY = "Source Sans, Source Sans Pro, Helvetica Neue, Arial, Noto Sans, sans-serif"


@dataclass(frozen=True)
class Palette:
    """Colours of one theme, as hex strings.

    Attributes:
        page: the ground the theme is made for; downloads are filled with it.
        surface: hover labels and legends, a shade off the page.
        text: letters.
        muted: letters that explain, axis labels.
        line: grid lines and borders.
        hatch: the strokes over cells that hold no number.
        accent: what the reader selected; stands out against both scales.
        sequential: from nothing to much.
        diverging: from negative to positive; the middle is zero.
        categorical: kinds of things, in the order of use.
    """

    page: str
    surface: str
    text: str
    muted: str
    line: str
    hatch: str
    accent: str
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]
    categorical: tuple[str, ...]


LIGHT = Palette(
    page="#ffffff",
    surface="#ffffff",
    text="#1c2430",
    muted="#5b6475",
    line="#dde2ea",
    hatch="#c3cad6",
    accent="#e8590c",
    sequential=(
        "#f1f7fa", "#c6e3f7", "#9bcff3", "#6ebbee", "#43a3eb", "#1b89e8",
        "#1b6dd9", "#2350c9", "#2b35af", "#2c1e8c", "#26066a",
    ),
    diverging=(
        "#014b95", "#2a6cb8", "#4c8ed9", "#7bb1ee", "#b6d3f3", "#f1f4f6",
        "#ecc7ae", "#e19b6c", "#c97138", "#a84e11", "#7f3201",
    ),
    categorical=("#0072b2", "#d55e00", "#00835f", "#b0548a", "#a06a00", "#3d7ea6"),
)  # fmt: skip

DARK = Palette(
    page="#11161d",
    surface="#1c2230",
    text="#e4e9f0",
    muted="#a9b1c1",
    line="#2d3442",
    hatch="#3c4557",
    accent="#ff9f43",
    sequential=(
        "#181c25", "#232452", "#38287f", "#32459e", "#1964b8", "#0785b8",
        "#09a3be", "#31bec9", "#5dd8d1", "#b3ebb8", "#faf7c0",
    ),
    diverging=(
        "#8ed5fe", "#50ade7", "#1b84c6", "#0e5d96", "#1a3a5a", "#131a23",
        "#522d17", "#86460e", "#b56713", "#dd8f39", "#febc6b",
    ),
    categorical=("#56b4e9", "#ff9f43", "#2fc79b", "#e79cc6", "#f0e442", "#9bb8d3"),
)  # fmt: skip


def palette(theme: Theme) -> Palette:
    """Return the colours of a theme.

    Raises:
        InputError: the theme is neither "light" nor "dark".
    """
    if theme not in get_args(Theme):
        raise InputError(f'There is no theme {theme!r}; choose "light" or "dark".')
    return LIGHT if theme == "light" else DARK


def colorscale(colors: Sequence[str]) -> list[list[float | str]]:
    """Return evenly spaced stops in Plotly's form: `[[0.0, "#..."], ..., [1.0, "#..."]]`."""
    last = len(colors) - 1
    return [[index / last, color] for index, color in enumerate(colors)]


def heading(title: str | None) -> dict[str, Any] | None:
    """Return the settings of a figure's title: small, at the upper left corner, escaped."""
    if not title:
        return None
    return {
        "text": escape_label(title),
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 6, "l": 2},
        "font": {"size": 14, "weight": 600},
    }


def style(theme: Theme) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the theme's settings of a layout and those of every axis in it.

    The template is set, and set empty: the process-wide default template belongs to the code that
    imported Plotly last.
    """
    colors = palette(theme)
    font = {"family": FONT_FAMILY, "size": 12, "color": colors.text}
    layout: dict[str, Any] = {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": font,
        "colorway": list(colors.categorical),
        "hoverlabel": {
            "bgcolor": colors.surface,
            "bordercolor": colors.line,
            "font": {**font, "size": 13},
            "align": "left",
        },
        "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12, "color": colors.text}},
        "modebar": {
            # Labels lie below it while the pointer is over the figure.
            "bgcolor": colors.surface,
            "color": colors.muted,
            "activecolor": colors.accent,
        },
        # A finger that scrolls the page must not draw a zoom box.
        "dragmode": False,
    }
    axis = {
        "gridcolor": colors.line,
        "linecolor": colors.line,
        "zerolinecolor": colors.line,
        "tickcolor": colors.line,
        "automargin": True,
    }
    return layout, axis


def apply(figure: go.Figure, theme: Theme) -> go.Figure:
    """Set the theme's background, fonts, grid and hover label on a figure, and return it."""
    layout, axis = style(theme)
    figure.update_layout({**layout, "template": go.layout.Template()})
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure

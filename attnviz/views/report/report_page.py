"""Page of a report: no network, no foreign code, light and dark, and on paper.

Everything is in the page: Plotly's code once, the figures as JSON, and a policy that lets only
these scripts run and forbids every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from attnviz.findings import LABELS
from attnviz.views.diagnosis.label_colors import label_colors, text_color_on
from attnviz.views.style.inline_json import content_policy, script_json
from attnviz.views.style.plotly_config import plot_config
from attnviz.views.style.theme import Theme, palette

__all__ = ["THEMES", "Figures", "draw_page", "figure_place"]

THEMES: tuple[Theme, ...] = ("light", "dark")

Figures = dict[str, dict[Theme, Any]]
"""Figures of a page as JSON, by the id of their place and by theme."""

_ASSETS = Path(__file__).parent / "assets"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="figures">{figures}</script>
<script type="application/json" id="config">{config}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def draw_page(title: str, body: Sequence[str], figures: Figures) -> str:
    """Return a page with figures and one table of heads that its script sorts and filters.

    Args:
        title: plain text.
        body: HTML, escaped, with a place for each figure and the table of `filtered_table`.
        figures: by the id of their place.
    """
    from plotly.offline import get_plotlyjs  # five megabytes, for those who draw a report

    script = (_ASSETS / "report.js").read_text("utf-8")
    plotly = get_plotlyjs()
    return _PAGE.format(
        policy=content_policy([plotly, script], styles=None),
        title=escape(title),
        style=_colors() + (_ASSETS / "report.css").read_text("utf-8"),
        body="\n".join(body),
        figures=script_json(figures),
        config=script_json({**plot_config("attnviz-diagnosis"), "displayModeBar": False}),
        plotly=plotly,
        script=script,
    )


def figure_place(
    figures: Figures, identity: str, title: str, caption: str, drawn: Mapping[Theme, go.Figure]
) -> str:
    """Add a figure of both themes to `figures`, and return its place as HTML.

    Title and caption are HTML, escaped.
    """
    figures[identity] = {theme: json.loads(figure.to_json()) for theme, figure in drawn.items()}
    return (
        f"<figure><h3>{title}</h3><figcaption>{caption}</figcaption>"
        f'<div class="plot" id="{identity}" role="img" aria-label="{title}"></div></figure>'
    )


def _colors() -> str:
    """Return both themes' colours as variables of the style sheet; paper is always light."""
    rules = []
    for theme in THEMES:
        colors, color_of = palette(theme), label_colors(theme)
        names = {
            "page": colors.page,
            "text": colors.text,
            "muted": colors.muted,
            "line": colors.line,
            "shade": "#f4f6f9" if theme == "light" else "#1a212b",
        }
        names |= {label: color_of[label] for label in LABELS}
        names |= {f"on-{label}": text_color_on(color_of[label]) for label in LABELS}
        body = "".join(f"--{name}:{color};" for name, color in names.items())
        rule = f":root{{{body}}}"
        rules.append(
            rule if theme == "light" else f"@media screen and (prefers-color-scheme:dark){{{rule}}}"
        )
    chips = (f".{label}{{background:var(--{label});color:var(--on-{label})}}" for label in LABELS)
    hollow = (
        f".{label}.disputed{{background:none;color:var(--text);outline-color:var(--{label})}}"
        for label in LABELS
    )
    return "\n".join([*rules, *chips, *hollow]) + "\n"

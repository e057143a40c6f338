"""Map of the labels of all heads of one kind, with the costs of removing them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from attnviz.errors import CaptureError
from attnviz.findings import LABELS, Finding
from attnviz.types import Head
from attnviz.views.diagnosis.label_colors import cell_lines, label_colors, text_color_on
from attnviz.views.maps.head_map import CLICK_LIMIT
from attnviz.views.maps.heatmap import CELLS, outline
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, heading, palette
from attnviz.views.style.token_axes import number_axis

__all__ = ["draw_label_map"]

NARROWEST = 300  # pixels that the legend needs
ENTRY = 126  # pixels of an entry of the legend
HOVER_LETTERS = 56
CLEAR = "rgba(0,0,0,0)"


def draw_label_map(
    findings: Sequence[Finding],
    *,
    selected: Head | None = None,
    theme: Theme = "light",
    title: str | None = None,
) -> go.Figure:
    """Draw the label of every head, layer 0 at the top.

    Colour and letters of a cell name the label; below them stands the cost of removing the head,
    nats per token. A label that the removal contradicts is an outline with an exclamation mark. A
    click selects a point of the trace named "heads"; its `customdata` is `[layer, head]`.

    Args:
        findings: of all heads of one kind.
        selected: the head to frame; ignored when it is of another kind.
        theme: the page's theme.
        title: written above the map.

    Raises:
        CaptureError: there is no finding, or they are not all of one kind.
    """
    if len({one.head.kind for one in findings}) != 1:
        raise CaptureError(
            f"expected findings of one kind of attention, not of "
            f"{len({one.head.kind for one in findings})}"
        )
    at: Mapping[tuple[int, int], Finding] = {
        (one.head.layer, one.head.head): one for one in findings
    }
    layers = max(layer for layer, _ in at) + 1
    heads = max(head for _, head in at) + 1
    cell = max(13.0, min(46.0, 560 / max(layers, heads)))
    columns, rows = number_axis(heads, "H"), number_axis(layers, "L")
    color_of = label_colors(theme)
    figure = go.Figure(_corner(columns.names, rows.names))
    steps = len(LABELS)
    figure.add_trace(
        go.Heatmap(
            z=_cells(at, layers, heads),
            x=columns.names,
            y=rows.names,
            colorscale=[
                stop
                for number, label in enumerate(LABELS)
                for stop in (
                    [number / steps, color_of[label]],
                    [(number + 1) / steps, color_of[label]],
                )
            ],
            zmin=-0.5,
            zmax=steps - 0.5,
            showscale=False,
            hoverinfo="skip",
            xgap=2 if cell >= 20 else 1,
            ygap=2 if cell >= 20 else 1,
            name="map",
            **CELLS,
        )
    )
    if cell >= 15:
        for trace in _words(at, layers, heads, 6 if cell >= 44 else 1, theme):
            figure.add_trace(trace)
    if layers * heads <= CLICK_LIMIT:
        figure.add_trace(_targets(findings, cell))
    for trace in _legend(findings, theme):
        figure.add_trace(trace)
    entries = len({one.label for one in findings}) + any(one.contradicted for one in findings)
    width = max(cell * heads, NARROWEST)
    lines = -(-entries // max(int(width // ENTRY), 1))
    top, bottom = 34 + (30 if title else 0), 14 + 21 * lines
    apply(figure, theme)
    size = 11 if cell >= 14 else 10
    figure.update_layout(
        width=round(width + 44 + 12),
        height=round(cell * layers + top + bottom),
        margin={"l": 44, "r": 12, "t": top, "b": bottom, "pad": 0},
        hovermode="closest",
        title=heading(title),
        xaxis={**columns.layout(size=size), "side": "top", "fixedrange": True},
        yaxis={**rows.layout(size=size, reverse=True), "fixedrange": True},
        xaxis2={**columns.unseen("x"), "fixedrange": True},
        yaxis2={**rows.unseen("y", reverse=True), "fixedrange": True},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yanchor": "top",
            "yref": "paper",
            "entrywidth": ENTRY - 42,
            "entrywidthmode": "pixels",
            "itemclick": False,
            "itemdoubleclick": False,
            "font": {"size": 11},
        },
    )
    # All at once: Plotly copies every shape it has whenever one is added.
    figure.update_layout(shapes=[_outlined(one, theme) for one in findings if one.contradicted])
    if selected is not None and selected.kind == findings[0].head.kind:
        figure.add_shape(
            outline(
                theme,
                rows=(selected.layer, selected.layer),
                columns=(selected.head, selected.head),
                width=3,
                inset=0.02,
            )
        )
    return figure


def _cells(at: Mapping[tuple[int, int], Finding], layers: int, heads: int) -> np.ndarray:
    """Return the number of each head's label; NaN where the cell stays empty.

    A label that the removal contradicts is an outline and no field.
    """
    numbers = np.full((layers, heads), np.nan, np.float32)
    for place, one in at.items():
        if not one.contradicted:
            numbers[place] = LABELS.index(one.label)
    return numbers


def _words(
    at: Mapping[tuple[int, int], Finding], layers: int, heads: int, letters: int, theme: Theme
) -> list[go.Heatmap]:
    """Return the marks in their cells, dark on pale colours and pale on dark ones.

    Invisible maps write them, because only those leave out text that does not fit its cell.
    """
    colors = label_colors(theme)

    def written_in(one: Finding) -> str:
        """Return the colour of a cell's text; an outlined cell has the page behind it."""
        return palette(theme).text if one.contradicted else text_color_on(colors[one.label])

    marks = []
    for text_color in sorted({written_in(one) for one in at.values()}):
        text = np.full((layers, heads), "", object)
        for place, one in at.items():
            if written_in(one) == text_color:
                text[place] = "<br>".join(map(escape_label, cell_lines(one, letters)))
        if not text.any():
            continue
        marks.append(
            go.Heatmap(
                z=np.where(text == "", np.nan, 0.0).astype(np.float32),
                x=number_axis(heads, "H").names,
                y=number_axis(layers, "L").names,
                text=text,
                texttemplate="%{text}",
                textfont={"color": text_color, "size": 11 if letters > 1 else 12},
                colorscale=[[0, CLEAR], [1, CLEAR]],
                showscale=False,
                hoverinfo="skip",
                hoverongaps=False,
                name=f"marks {text_color}",
                **CELLS,
            )
        )
    return marks


def _targets(findings: Sequence[Finding], cell: float) -> go.Scatter:
    """Return an invisible square per head: heatmap cells answer no click in Streamlit."""
    invisible = {"marker": {"opacity": 0}}
    return go.Scatter(
        x=[f"H{one.head.head}" for one in findings],
        y=[f"L{one.head.layer}" for one in findings],
        mode="markers",
        marker={"symbol": "square", "size": cell, "opacity": 0},
        selected=invisible,
        unselected=invisible,
        customdata=[[one.head.layer, one.head.head] for one in findings],
        hovertemplate=[_hover(one) + "<extra></extra>" for one in findings],
        showlegend=False,
        name="heads",
        **CELLS,
    )


def _hover(one: Finding) -> str:
    lines = [f"<b>{escape_label(one.head.label)}</b> {escape_label(one.name)}"]
    for sentence in one.sentences[:2]:
        lines += [escape_label(line) for line in textwrap.wrap(sentence, HOVER_LETTERS)]
    return "<br>".join(lines)


def _legend(findings: Sequence[Finding], theme: Theme) -> list[go.Scatter]:
    """Return what the colours mean and how many heads have each, most degenerate first."""
    counts = Counter(one.label for one in findings)
    colors = palette(theme)
    entries = [
        (f"{label} {counts[label]}", {"color": color, "line": {"width": 1, "color": colors.line}})
        for label, color in label_colors(theme).items()
        if counts[label]
    ]
    disputed = sum(one.contradicted for one in findings)
    if disputed:
        frame = {"color": CLEAR, "line": {"width": 2, "color": colors.text}}
        entries.append((f"contradicted (!) {disputed}", frame))
    return [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"symbol": "square", "size": 11, **look},
            name=name,
            showlegend=True,
            hoverinfo="skip",
        )
        for name, look in entries
    ]


def _outlined(one: Finding, theme: Theme) -> dict[str, Any]:
    """Return the outline of a label that the removal contradicts, in the colour of the label."""
    head = one.head
    return {
        "type": "rect",
        "x0": head.head - 0.44,
        "x1": head.head + 0.44,
        "y0": head.layer - 0.44,
        "y1": head.layer + 0.44,
        "line": {"color": label_colors(theme)[one.label], "width": 3},
        "fillcolor": CLEAR,
    }


def _corner(columns: tuple[str, ...], rows: tuple[str, ...]) -> go.Scatter:
    """Return one unseen point on the labelled axes: Plotly labels no axis that holds nothing."""
    return go.Scatter(
        x=columns[:1],
        y=rows[:1],
        mode="markers",
        marker={"opacity": 0},
        hoverinfo="skip",
        showlegend=False,
        name="corner",
    )

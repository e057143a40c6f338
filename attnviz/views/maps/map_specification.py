"""Specification of a map: colours, colour bar, captions, hatching and frames.

The figure that Python draws (`draw_weights` and its relatives) and the map on the screen (the
component in `attnviz.ui.components`) are both made from a `MapSpecification`, so that they agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from attnviz.types import Metric
from attnviz.views.style.color_scales import ColorScale, color_bar
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, colorscale, palette
from attnviz.written_numbers import MINUS, significant

__all__ = [
    "LABEL_RULE",
    "LOG_FLOOR",
    "Diagonal",
    "MapSpecification",
    "diagonal_lines",
    "difference_specification",
    "effect_specification",
    "hatching_pattern",
    "head_specification",
    "picture_specification",
    "repetition_diagonals",
    "score_specification",
    "signed_ticks",
    "style",
    "weight_specification",
]

LOG_FLOOR = 1e-4
"""On the logarithmic scale, smaller weights have the colour of this one."""

LABEL_RULE = {"least": 11, "most": 18, "share": 0.7, "largestCell": 60}
"""Label sizes in pixels (a share of the cell's side between two bounds) and the largest cell."""

_LOG_TICKS = ((math.log10(LOG_FLOOR), "≤0.0001"), (-2.0, "0.01"), (0.0, "1"))


@dataclass(frozen=True)
class Diagonal:
    """Marked diagonal of a square map: the cells (row, row - offset).

    Attributes:
        offset: rows minus columns.
        name: written in the legend.
    """

    offset: int
    name: str


@dataclass(frozen=True)
class MapSpecification:
    """Specification of a map: its numbers, colours and captions.

    Attributes:
        value: name of the number in a cell ("weight").
        caption: written above the colour bar.
        low: number at the first colour; a power of ten on a logarithmic scale.
        high: number at the last colour; None: the largest number in view.
        colors: which colours; "diverging" has zero in the middle.
        ticks: marks of the colour bar as (number, text); None leaves them to Plotly.
        log_floor: smallest number with a separate colour on a logarithmic scale; None on a
            linear scale.
        unit: unit of the number.
        missing: sentence for a cell without a number.
        missing_caption: name of such cells in the legend.
        corner: what runs along the two sides.
        gap: pixels between cells.
        diagonals: marked diagonals.
        numbers: whether the number is written into the cell.
        numbered: whether rows and columns have position numbers beside their labels.
    """

    value: str
    caption: str
    low: float
    high: float | None
    colors: Literal["sequential", "diverging"] = "sequential"
    ticks: tuple[tuple[float, str], ...] | None = None
    log_floor: float | None = None
    unit: str = ""
    missing: str = "not defined"
    missing_caption: str = "not defined"
    corner: str = ""
    gap: float = 0
    diagonals: tuple[Diagonal, ...] = ()
    numbers: bool = False
    numbered: bool = True

    def color_scale(self, theme: Theme) -> ColorScale:
        """Return the colour scale in a theme's colours."""
        colors = palette(theme)
        return ColorScale(
            colors.diverging if self.colors == "diverging" else colors.sequential,
            self.low,
            1.0 if self.high is None else self.high,
            escape_label(self.caption),
            self.ticks,
        )


def repetition_diagonals(period: int) -> tuple[Diagonal, Diagonal]:
    """Return the diagonals of tokens that repeat after `period` positions: induction, duplicate."""
    return Diagonal(period - 1, "induction"), Diagonal(period, "duplicate")


def weight_specification(
    *,
    value: str = "weight",
    high: float | None = 1.0,
    logarithmic: bool = False,
    diagonals: tuple[Diagonal, ...] = (),
) -> MapSpecification:
    """Return the specification of attention weights, from 0 to `high` or over four decades.

    Args:
        value: name of the number.
        high: number at the last colour; 1 makes colours comparable between heads.
        logarithmic: use a logarithmic scale from `LOG_FLOOR` to 1.
        diagonals: marked diagonals.
    """
    caption = f"{value}, logarithmic" if logarithmic else value
    return MapSpecification(
        value=value,
        caption=caption if high is not None or logarithmic else f"{value}, of this part",
        low=math.log10(LOG_FLOOR) if logarithmic else 0.0,
        high=0.0 if logarithmic else high,
        ticks=_LOG_TICKS if logarithmic else None,
        log_floor=LOG_FLOOR if logarithmic else None,
        missing="masked: this query cannot see this key",
        missing_caption="masked",
        corner="key →<br>query ↓",
        diagonals=diagonals,
    )


def signed_ticks(end: float) -> tuple[tuple[float, str], ...]:
    """Return the ticks of a scale from -`end` to `end`, with their texts."""
    text = significant(end, 2).removesuffix(".0")
    return ((-end, f"{MINUS}{text}"), (0.0, "0"), (end, f"+{text}"))


def difference_specification(label_a: str, label_b: str, end: float) -> MapSpecification:
    """Return the specification of weights of B minus weights of A, between -`end` and `end`."""
    return MapSpecification(
        value=f"{label_b} − {label_a}",
        caption=f"{label_b} − {label_a}",
        low=-end,
        high=end,
        colors="diverging",
        ticks=signed_ticks(end),
        missing="masked in one of the two",
        missing_caption="masked",
        corner="key →<br>query ↓",
    )


def effect_specification(
    value: str,
    end: float,
    *,
    corner: str = "head →<br>layer ↓",
    missing: str = "not defined",
    numbers: bool = True,
) -> MapSpecification:
    """Return the specification of effects, with zero in the middle and `end` at both ends."""
    return MapSpecification(
        value=value,
        caption=value,
        low=-end,
        high=end,
        colors="diverging",
        ticks=signed_ticks(end),
        missing=missing,
        missing_caption=missing,
        corner=corner,
        gap=2 if numbers else 0,
        numbers=numbers,
        numbered=False,
    )


def score_specification(value: str, high: float, *, missing: str) -> MapSpecification:
    """Return the specification of scores from 0 on, one per head."""
    return MapSpecification(
        value=value,
        caption=value,
        low=0.0,
        high=high,
        missing=missing,
        missing_caption=missing,
        corner="head →<br>layer ↓",
        gap=2,
        numbers=True,
        numbered=False,
    )


def head_specification(metric: Metric, low: float, high: float) -> MapSpecification:
    """Return the specification of one number per head, layers down and heads across."""
    return MapSpecification(
        value=metric.label,
        caption=f"{metric.label} ({metric.unit})" if metric.unit else metric.label,
        low=low,
        high=high,
        unit=metric.unit,
        missing=f"{metric.label}: not defined for this text",
        corner="head →<br>layer ↓",
        gap=2,
        numbers=True,
        numbered=False,
    )


def picture_specification(metric: Metric) -> MapSpecification:
    """Return the specification of small patterns, one per head; `metric` is read out beside them.

    The colours are those of `weight_specification`.
    """
    return MapSpecification(
        value=metric.label,
        caption="weight",
        low=0.0,
        high=1.0,
        unit=metric.unit,
        missing=f"{metric.label}: not defined for this text",
        corner="head →<br>layer ↓",
        gap=3,
        numbered=False,
    )


def hatching_pattern(theme: Theme) -> dict[str, Any]:
    """Return Plotly's fill pattern of cells without a number."""
    return {
        "shape": "/",
        "fgcolor": palette(theme).hatch,
        "bgcolor": "rgba(0,0,0,0)",
        "size": 6,
        "solidity": 0.18,
    }


def diagonal_lines(theme: Theme, count: int) -> list[dict[str, Any]]:
    """Return Plotly's line settings of the marked diagonals, in their order."""
    colors = palette(theme)
    lines = (
        {"color": colors.accent, "width": 1.5, "dash": "solid"},
        {"color": colors.categorical[2], "width": 1.5, "dash": "dot"},
    )
    return [dict(lines[at % len(lines)]) for at in range(count)]


def style(specification: MapSpecification, theme: Theme) -> dict[str, Any]:
    """Return what depends on the theme, as the map component reads it."""
    colors = palette(theme)
    color_scale = specification.color_scale(theme)
    return {
        "page": colors.page,
        "text": colors.text,
        "muted": colors.muted,
        "line": colors.line,
        "grey": colors.hatch,
        "fillpattern": hatching_pattern(theme),
        "heatmap": {
            "colorscale": colorscale(color_scale.colors),
            "colorbar": color_bar(color_scale, theme),
        },
        "frame": {"color": colors.accent, "width": 2},
        "marks": diagonal_lines(theme, len(specification.diagonals)),
    }

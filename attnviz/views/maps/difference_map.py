"""Two heads compared, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.types import Tokens
from attnviz.views.maps.heatmap import check_shape, draw_grid
from attnviz.views.maps.map_specification import difference_specification
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme
from attnviz.views.style.token_axes import token_axis

__all__ = ["draw_difference"]


def draw_difference(
    difference: Float[np.ndarray, "query key"],
    query_tokens: Tokens | Sequence[str],
    key_tokens: Tokens | Sequence[str],
    *,
    label_a: str,
    label_b: str,
    theme: Theme = "light",
    limit: float | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw weights of B minus weights of A, with zero in the middle of a symmetric scale.

    Args:
        difference: B - A; NaN where either may not look.
        query_tokens: the tokens that look, one per row.
        key_tokens: the tokens looked at, one per column.
        label_a: what A is called ("L0·H3"); its side of the scale is blue.
        label_b: what B is called; its side is orange.
        theme: the page's theme.
        limit: the difference at both ends of the colours; the largest one when None.
        title: written above the map.

    Raises:
        CaptureError: the shape does not match the tokens.
        InputError: the limit is not positive.
    """
    check_shape("difference", difference, (len(query_tokens), len(key_tokens)), "(query, key)")
    if limit is not None and not limit > 0:
        raise InputError(f"The limit of the colours is {limit}; it must be above zero.")
    finite = np.abs(difference[np.isfinite(difference)])
    largest = float(finite.max()) if finite.size else 0.0
    end = limit if limit is not None else (largest if largest > 0 else 1.0)
    specification = difference_specification(label_a, label_b, end)
    name = escape_label(specification.value)
    return draw_grid(
        difference,
        token_axis(query_tokens),
        token_axis(key_tokens),
        color_scale=specification.color_scale(theme),
        hover=f"<b>%{{y}}</b> → <b>%{{x}}</b><br>{name}: %{{z:+.4f}}",
        theme=theme,
        empty=specification.missing,
        legend=specification.missing_caption,
        corner=specification.corner,
        title=title,
    )

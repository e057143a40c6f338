"""Contrast of text on a coloured cell, as defined by WCAG 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from attnviz.views.style.theme import Theme, palette

__all__ = ["contrast", "luminance", "page_color_reads_better"]


def luminance(color: Sequence[float] | np.ndarray) -> float:
    """Return the relative luminance (0..1) of an sRGB colour, three numbers from 0 to 255."""
    shares = np.asarray(color, dtype=float) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Return the contrast ratio of two colours: 1 (equal) to 21 (black on white)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def page_color_reads_better(
    shares: Float[np.ndarray, "row column"], theme: Theme
) -> Bool[np.ndarray, "row column"]:
    """Return where the page's colour is easier to read on a cell than the text colour.

    Args:
        shares: position of each cell on the sequential colour scale, 0..1.
        theme: light or dark.
    """
    colors = palette(theme)
    page, text = (_channels(one) for one in (colors.page, colors.text))
    stops = np.array([_channels(one) for one in colors.sequential])
    grid = np.arange(len(stops)) / (len(stops) - 1)
    cells = np.stack(
        [np.interp(np.clip(shares, 0, 1), grid, stops[:, channel]) for channel in range(3)], -1
    )
    better = [contrast(page, one) > contrast(text, one) for one in cells.reshape(-1, 3)]
    return np.array(better, dtype=bool).reshape(shares.shape)


def _channels(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue

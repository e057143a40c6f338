"""Colours of lines and their names: as many as there are heads or layers."""

from __future__ import annotations

import math

import numpy as np

from attnviz.views.style.theme import Theme

__all__ = ["line_colors"]

_LIGHTNESS: dict[Theme, tuple[float, float]] = {"light": (0.56, 0.46), "dark": (0.76, 0.66)}
_CHROMA = 0.13


def line_colors(count: int, theme: Theme) -> list[str]:
    """Return a colour for each of `count` lines, as hex strings.

    Hues are evenly spaced in Oklab (Ottosson 2020), and neighbours are far from each other; every
    second colour is darker. All have a contrast of at least 3 against the page (WCAG 2, 1.4.11).
    """
    stride = next(
        one for one in range(max(round(count * 0.38), 1), count + 2) if math.gcd(one, count) == 1
    )
    lightness = _LIGHTNESS[theme]
    return [
        _hex(lightness[place % 2], 2 * math.pi * (place * stride % count) / count + 0.5)
        for place in range(count)
    ]


def _hex(lightness: float, hue: float) -> str:
    """Return the nearest sRGB colour of a lightness and hue in Oklab."""
    a, b = _CHROMA * math.cos(hue), _CHROMA * math.sin(hue)
    cones = np.array(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = np.clip(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
        @ cones**3,
        0,
        1,
    )
    channels = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * one):02x}" for one in channels)

from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from attnviz.errors import InputError
from attnviz.views.style.theme import apply, colorscale, heading, palette

THEMES = ("light", "dark")


def channels(color: str) -> np.ndarray:
    srgb = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(channels(color) @ [0.2126, 0.7152, 0.0722])


def oklab_lightness(color: str) -> float:
    mix = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return float(np.cbrt(mix @ channels(color)) @ [0.2104542553, 0.7936177850, -0.0040720468])


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_equal_differences_look_equal(theme):
    lightness = [oklab_lightness(color) for color in palette(theme).sequential]
    steps = np.diff(lightness)
    assert (np.sign(steps) == np.sign(steps[0])).all()
    assert np.abs(steps).max() < 1.6 * np.abs(steps).min()


@pytest.mark.parametrize("theme", THEMES)
def test_the_diverging_scale_has_the_page_in_its_middle_and_equal_sides(theme):
    colors = palette(theme)
    lightness = np.array([oklab_lightness(color) for color in colors.diverging])
    assert len(lightness) % 2 == 1
    assert np.abs(lightness - lightness[::-1]).max() < 0.03
    page = oklab_lightness(colors.page)
    assert np.argmin(np.abs(lightness - page)) == len(lightness) // 2


@pytest.mark.parametrize("theme", THEMES)
def test_scales_start_at_the_page_and_end_in_strong_ink(theme):
    colors = palette(theme)
    assert contrast(colors.sequential[0], colors.page) < 1.2
    assert contrast(colors.sequential[-1], colors.page) > 10


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_letters_can_be_read(theme):
    colors = palette(theme)
    assert contrast(colors.text, colors.page) > 7
    assert contrast(colors.muted, colors.page) > 4.5
    for color in (*colors.categorical, colors.accent):
        assert contrast(color, colors.page) > 3, color


@pytest.mark.parametrize("theme", THEMES)
def test_the_accent_stands_out_from_every_cell(theme):
    colors = palette(theme)
    apart = [np.abs(channels(colors.accent) - channels(one)).sum() for one in colors.sequential]
    assert min(apart) > 0.35


def test_categories_differ_in_lightness_or_hue():
    for theme in THEMES:
        for first, second in itertools.combinations(palette(theme).categorical, 2):
            assert np.abs(channels(first) - channels(second)).sum() > 0.1, (first, second)


def test_a_figure_does_not_depend_on_the_process_wide_template():
    before = pio.templates.default
    try:
        pio.templates.default = "plotly_dark"
        dark_default = apply(go.Figure(), "light").to_json()
        pio.templates.default = "plotly"
        assert apply(go.Figure(), "light").to_json() == dark_default
    finally:
        pio.templates.default = before


def test_figures_have_no_ground_of_their_own():
    layout = apply(go.Figure(), "dark").layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert layout.dragmode is False


def test_stops_span_zero_to_one():
    stops = colorscale(("#000000", "#777777", "#ffffff"))
    assert stops == [[0.0, "#000000"], [0.5, "#777777"], [1.0, "#ffffff"]]


def test_an_unknown_theme_is_named():
    with pytest.raises(InputError, match="'sepia'"):
        palette("sepia")


def test_a_title_is_escaped_and_no_title_is_none():
    assert heading(None) is None
    assert heading("<b>L0</b>")["text"] == "&lt;b&gt;L0&lt;/b&gt;"

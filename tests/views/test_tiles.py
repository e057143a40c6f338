"""Numbers sent of a long map: the right numbers, exact enough, and never too many bytes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch

from attnviz.attention import AttentionStack
from attnviz.attention.stack.map_tiles import (
    BINS,
    FULL,
    MASKED,
    SINK,
    Grid,
    Window,
    encode,
    grid,
)
from attnviz.metrics.sinks import sink_keys
from attnviz.types import Head
from attnviz.ui.components.plotly_map import LABEL_WIDTH, pack
from tests.views.long_stack import long_stack

LIMIT = 300_000  # bytes of one view
HEAD = Head("self", 0, 1)


@pytest.fixture(scope="module")
def stack() -> AttentionStack:
    return long_stack(600)


def shown(stack: AttentionStack, head: Head) -> np.ndarray:
    """Return the whole map, NaN where masked."""
    visible = stack.layers[head.layer].visibility.table()[0].numpy()
    return np.where(visible, stack.weights(head.layer, head.head), np.nan)


def test_a_small_window_is_the_weights_themselves(stack: AttentionStack) -> None:
    tiles = grid(stack, HEAD, Window(100, 356, 40, 140))
    assert (tiles.query_step, tiles.key_step) == (1, 1)
    np.testing.assert_allclose(tiles.values, shown(stack, HEAD)[100:356, 40:140], atol=1e-7)


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize(
    "window", [Window(0, 600, 0, 600), Window(3, 600, 0, 257), Window(10, 90, 0, 600)]
)
def test_bins_are_the_largest_or_the_mean_of_their_visible_cells(
    stack: AttentionStack, window: Window, how: str
) -> None:
    tiles = grid(stack, HEAD, window, how=how)
    assert max(tiles.values.shape) <= BINS
    part = shown(stack, HEAD)[
        window.query_start : window.query_stop, window.key_start : window.key_stop
    ]
    reduce = np.nanmax if how == "max" else np.nanmean
    for row in range(tiles.values.shape[0]):
        for column in range(0, tiles.values.shape[1], 7):
            cells = part[
                row * tiles.query_step : (row + 1) * tiles.query_step,
                column * tiles.key_step : (column + 1) * tiles.key_step,
            ]
            value = tiles.values[row, column]
            if np.isnan(cells).all():
                assert np.isnan(value)
            else:
                assert value == pytest.approx(reduce(cells), abs=1e-6)


def test_an_overview_agrees_with_the_engines_own() -> None:
    stack = long_stack(512)
    ours = grid(stack, HEAD, Window.whole(stack.shape)).values
    np.testing.assert_allclose(np.nan_to_num(ours), stack.pooled(0, 1, bins=256), atol=1e-7)


def test_keys_set_aside_are_part_of_no_bin(stack: AttentionStack) -> None:
    whole = Window.whole(stack.shape)
    tiles = grid(stack, HEAD, whole, aside=np.array([30, 31, 32]))
    cells = shown(stack, HEAD)
    cells[:, [30, 31, 32]] = np.nan
    assert tiles.key_step == 3
    assert np.isinf(tiles.values[100, 10])  # the bin of keys 30, 31, 32 holds nothing else
    assert tiles.values[100, 9] == pytest.approx(np.nanmax(cells[300:303, 27:30]))
    assert np.isnan(tiles.values[2, 10])  # still masked: the query comes before these keys
    near = grid(stack, HEAD, Window(50, 60, 20, 40), aside=np.array([30]))
    assert near.values[0, 10] == pytest.approx(cells[50, 30], nan_ok=True) or near.values[0, 10] > 0


def test_sinks_are_found_by_the_weight_of_the_whole_text() -> None:
    stack = long_stack(200)
    mass = stack.layers[0].rows["key_mass"][0]
    with torch.inference_mode():
        mass[:] = 0.001
        mass[5] = 0.31 * 200
    assert sink_keys(stack, Head("self", 0, 0)).tolist() == [5]


@pytest.mark.parametrize("scale", [1.0, 0.02, 1e-4])
def test_codes_hold_weights_to_more_digits_than_are_shown(scale: float) -> None:
    values = np.random.default_rng(0).random((50, 60)).astype(np.float32) ** 6 * scale
    values[3, 4], values[5, 6] = np.nan, np.inf
    codes, sent = encode(Grid(Window(0, 50, 0, 60), 1, 1, values))
    read = np.frombuffer(codes, "<u2").reshape(50, 60)
    assert read[3, 4] == MASKED
    assert read[5, 6] == SINK
    known = np.isfinite(values)
    again = (read[known] / FULL) ** 2 * sent
    assert np.abs(again - values[known]).max() < 2e-5 * scale
    small = values[known] > 1e-4 * scale
    assert (np.abs(again[small] / values[known][small] - 1)).max() < 2e-3


def test_weight_zero_is_not_masked() -> None:
    codes, _ = encode(Grid(Window(0, 1, 0, 2), 1, 1, np.array([[0.0, np.nan]], np.float32)))
    assert np.frombuffer(codes, "<u2").tolist() == [0, MASKED]


@pytest.mark.parametrize(
    "word", ["·token", "漢字漢字漢字漢字漢字漢字", "e\u0301" * 40, "\\\"'<&" * 9]
)
@pytest.mark.parametrize("window", [Window(0, 600, 0, 600), Window(100, 356, 100, 356)])
def test_a_view_is_small_whatever_the_text(word: str, window: Window) -> None:
    stack = long_stack(600, words=(word,), heads=1)
    head = Head("self", 0, 0)
    # All that a view needs: its grid, and its header with both themes' colours.
    header = {"aside": [], "signed": False, "small": False, "styles": "#" * 6000}
    labels = stack.query_tokens.labels
    packed = pack(header, grid(stack, head, window), labels, labels)
    assert len(packed) < LIMIT
    length = struct.unpack("<I", packed[:4])[0]
    read = json.loads(packed[4 : 4 + length])["grid"]
    assert len(read["rowLabels"]) * len(read["columnLabels"]) * 2 == len(packed) - 4 - length
    assert max(map(len, read["rowLabels"])) <= LABEL_WIDTH


def test_nothing_is_sent_twice_when_nothing_has_changed(stack: AttentionStack) -> None:
    assert len(pack({"aside": []}, None, (), ())) < 200


def test_a_map_of_two_texts_has_a_step_per_side() -> None:
    stack = long_stack(20, 700)
    tiles = grid(stack, Head("cross", 0, 0), Window.whole(stack.shape))
    assert (tiles.query_step, tiles.key_step) == (1, 3)
    assert tiles.values.shape == (20, 234)


@pytest.mark.parametrize(
    "said",
    [None, "x", [1, 2, 3], [0, 5, 0, "7"], [5, 5, 0, 4], [9, 2, 0, 4], [0, 4, 900, 1000],
     [0, float("nan"), 0, 4], [0, 1e300, 0, 4], {"a": 1}],
)  # fmt: skip
def test_what_is_no_window_is_refused(said: object) -> None:
    assert Window.read(said, (600, 600)) is None


def test_a_window_is_cut_to_the_map() -> None:
    assert Window.read([-5, 1000, 0, 700.9], (600, 600)) == Window(0, 600, 0, 600)

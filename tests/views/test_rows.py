"""Numbers along a text: bars of a short one, bins of a long one, places that are the text's own."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.views import draw_products, draw_row_bins, draw_rows, draw_vectors
from tests.views.samples import bytes_of, make_tokens, trace


def numbers(count: int) -> np.ndarray:
    drawn = np.random.default_rng(0).random(count).astype(np.float32)
    drawn[[3, count - 1]] = np.nan
    return drawn


@pytest.mark.parametrize("count", [513, 1000, 16_384])
def test_bins_lose_no_extreme(count: int) -> None:
    values = numbers(count)
    values[count // 2] = 7.0
    figure = draw_row_bins(values, label="entropy", bins=512)
    mean, low, high = (trace(figure, name) for name in ("mean", "lowest", "highest"))
    assert len(mean.y) <= 512
    for number, (start, last, lowest, highest) in enumerate(mean.customdata):
        part = values[int(start) : int(last) + 1]
        if np.isnan(part).all():
            assert np.isnan([mean.y[number], lowest, highest]).all()
            continue
        assert mean.y[number] == pytest.approx(np.nanmean(part), rel=1e-5)
        assert (low.y[number], high.y[number]) == (np.nanmin(part), np.nanmax(part))
        assert (lowest, highest) == (low.y[number], high.y[number])
    starts, ends = mean.customdata[:, 0], mean.customdata[:, 1]
    assert starts[0] == 0
    assert ends[-1] == count - 1
    assert (starts[1:] == ends[:-1] + 1).all()


def test_bins_without_a_number_are_gaps_and_a_long_text_is_small_to_send() -> None:
    values = numbers(16_384)
    values[:200] = np.nan
    figure = draw_row_bins(values, label="entropy", selected=9000)
    assert np.isnan(trace(figure, "mean").y[:6]).all()
    assert figure.layout.shapes[0].x0 == 9000
    assert bytes_of(figure) < 60_000


def test_there_must_be_a_bin() -> None:
    with pytest.raises(InputError, match="at least one bin"):
        draw_row_bins(numbers(10), label="entropy", bins=0)


def test_a_part_of_a_text_keeps_its_places() -> None:
    tokens = make_tokens(5)
    drawn = draw_rows(np.ones(5), tokens, label="entropy", first=700, selected=2)
    assert trace(drawn, "entropy").x[0].endswith(" (700)")
    vectors = draw_vectors(np.ones((5, 3)), tokens, label="key", first=700)
    assert trace(vectors, "map").y[4].endswith(" (704)")
    products = draw_products(np.ones(3), np.ones((5, 3)), tokens, first=700)
    assert trace(products, "map").y[0].endswith(" (700)")

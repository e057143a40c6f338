"""Structure of the picture of the logit lens."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import CaptureError
from attnviz.views import draw_lens
from tests.views.samples import HOSTILE, trace

BEST = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", HOSTILE[0]]]
PROBABILITY = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5], [0.6, 0.9, 1.0]])
RANK = np.arange(9).reshape(3, 3)
READ = ["x", "y", "z"]


def test_positions_are_rows_and_layers_are_columns():
    figure = draw_lens(BEST, PROBABILITY, RANK, READ)
    drawn = trace(figure, "map")
    np.testing.assert_allclose(drawn.z, PROBABILITY.T, atol=1e-6)
    assert tuple(drawn.x) == ("input", "L0", "L1")
    np.testing.assert_array_equal(drawn.customdata[:, :, 0], RANK.T)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_label_is_written_once_and_escaped(theme):
    figure = draw_lens(BEST, PROBABILITY, RANK, READ, theme=theme)
    strong, weak = (trace(figure, f"labels on {name}").text for name in ("strong", "weak"))
    for position in range(3):
        for layer in range(3):
            one, two = strong[position][layer], weak[position][layer]
            assert bool(one) != bool(two)
            if (position, layer) != (2, 2):
                assert one + two == BEST[layer][position]
            assert "<" not in one + two


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(CaptureError, match="probability"):
        draw_lens(BEST, PROBABILITY[:2], RANK, READ)

"""Ways that the benchmark times, beside the readable functions."""

from __future__ import annotations

import pytest
import torch

from attnviz import efficient
from benchmarks.efficient import WAYS, WINDOW, D


@pytest.mark.parametrize("name", WAYS)
def test_the_timed_way_computes_what_is_counted(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3 * WINDOW, D, generator=generator) for _ in range(3))
    function, variant, options = WAYS[name]
    scale = 1.0 if name == "linear" else None
    wanted = efficient.run(
        variant, query.double(), key.double(), value.double(), scale=scale, **options
    ).output
    output = function(query, key, value)
    # float32 sums of 384 products: 384 x 6e-8, with a factor of ten to spare
    assert (output - wanted).abs().max() < 384 * 6e-8 * 10

"""Matrix kernel of the browser against torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.browser

ASSETS = Path(__file__).parents[2] / "attnviz/ui/components/assets/lesson"
KERNEL = ASSETS / "kernel.js"
NUMBERS = ASSETS / "numbers.js"
TYPES = {"Float32Array": (torch.float32, 4e-7), "Float64Array": (torch.float64, 1e-14)}
"""Bounds: a few roundings of numbers up to 1; sums are made in double precision."""


@pytest.fixture(scope="module")
def kernel(chromium):
    page = chromium.new_page()
    source = KERNEL.read_text("utf-8").replace("export ", "")
    files = [NUMBERS, ASSETS.parent / "written_numbers.js"]
    numbers = "; ".join(
        re.sub(r"^import .*$", "", path.read_text("utf-8"), flags=re.M) for path in files
    )
    page.add_script_tag(
        content=f"{source}; {numbers.replace('export ', '')}; window.kernel = {{dot, norm, matmul, "
        "mask, runningSums, sharesRow, softmax, totalVariation}"
    )

    def call(expression: str, **numbers: object):
        return page.evaluate(
            f"""(given) => {{
              const out = (({{{", ".join(numbers)}}}) => {expression})(given);
              return ArrayBuffer.isView(out) ? Array.from(out) : out;
            }}""",
            numbers,
        )

    yield call
    page.close()


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", TYPES)
def test_matmul_and_dot(kernel, name: str) -> None:
    dtype, bound = TYPES[name]
    first, second = drawn(7, 32), drawn(32, 5, seed=1)
    got = kernel(
        f"kernel.matmul({name}.from(a), {name}.from(b), 7, 32, 5)",
        a=first.ravel().tolist(),
        b=second.ravel().tolist(),
    )
    expected = torch.tensor(first, dtype=dtype) @ torch.tensor(second, dtype=dtype)
    assert np.abs(np.reshape(got, (7, 5)) - expected.numpy()).max() < 32 * bound
    got = kernel("kernel.dot(a, b)", a=first[0].tolist(), b=second[:, 0].tolist())
    assert got == pytest.approx(float(first[0].astype(float) @ second[:, 0].astype(float)))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("temperature", [0.25, 1, 8])
@pytest.mark.parametrize("shift", [0, 100, -1000])
def test_softmax_with_mask_and_temperature(
    kernel, name: str, temperature: float, shift: float
) -> None:
    dtype, bound = TYPES[name]
    scores = (10 * drawn(40)).round(2) + shift
    visible = (np.arange(40) % 3 > 0).tolist()
    got = kernel(
        f"kernel.softmax(kernel.mask({name}.from(s), v), {{temperature: t}})",
        s=scores.tolist(),
        v=visible,
        t=temperature,
    )
    rows = torch.tensor(scores, dtype=dtype).masked_fill(~torch.tensor(visible), -torch.inf)
    expected = torch.softmax(rows.double() / temperature, 0).numpy()
    assert np.abs(np.array(got) - expected).max() < bound
    assert all(weight == 0 for weight, seen in zip(got, visible, strict=True) if not seen)


def test_a_sink_is_one_more_score_without_a_key(kernel) -> None:
    scores = drawn(9)
    got = kernel("kernel.softmax(Float64Array.from(s), {sink: 0.7})", s=scores.tolist())
    expected = torch.softmax(torch.tensor([*scores.tolist(), 0.7]).double(), 0)[:-1].numpy()
    assert np.abs(np.array(got) - expected).max() < 1e-7


def test_a_row_without_visible_keys_has_no_weights(kernel) -> None:
    got = kernel(
        "Array.from(kernel.softmax(Float32Array.from([-1/0, -1/0])), Number.isNaN)",
    )
    assert got == [True, True]


def test_total_variation(kernel) -> None:
    first = torch.softmax(torch.tensor(drawn(12)).double(), 0)
    second = torch.softmax(torch.tensor(drawn(12, seed=5)).double(), 0)
    got = kernel("kernel.totalVariation(a, b)", a=first.tolist(), b=second.tolist())
    assert got == pytest.approx(float((first - second).clamp_min(0).sum()))
    assert kernel("kernel.totalVariation([1, 0], [0, 1])") == 1


def test_running_sums_are_those_of_the_keys_read_so_far(kernel) -> None:
    scores = torch.tensor([2.0, -1.0, 5.0, -torch.inf, 4.0, 700.0], dtype=torch.float64)
    sent = [None if one == -torch.inf else one for one in scores.tolist()]
    call = "kernel.runningSums(Float64Array.from(s, (one) => one ?? -Infinity))"
    highest, sums = (kernel(f"{call}.{name}", s=sent) for name in ("highest", "sums"))
    for at in range(len(scores)):
        read = scores[: at + 1]
        assert highest[at] == float(read.max())
        assert sums[at] == pytest.approx(float(torch.exp(read - read.max()).sum()), rel=1e-14)


@pytest.mark.parametrize("factor", [1, 0.1, 0])
def test_shares_and_output_with_a_shortened_value(kernel, factor: float) -> None:
    values = torch.tensor(drawn(5, 8))
    weights = torch.softmax(torch.tensor([0.0, 3.5, 0.5, -1.0, 0.2]), 0)
    sent = {
        "arrays": {
            "weights": {"numbers": weights.tolist(), "shape": [5]},
            "values": {"numbers": values.ravel().tolist(), "shape": [5, 8]},
        },
        "places": {"shortened": 1},
    }
    got = kernel(
        """(() => {
          for (const one of Object.values(scene.arrays)) {
            one.numbers = Float32Array.from(one.numbers);
          }
          const row = kernel.sharesRow({ scene, controls });
          return [[...row.lengths], [...row.shares], row.moved, [...row.weights]];
        })()""",
        scene=sent,
        controls={"length": factor},
    )
    changed = values.clone()
    changed[1] *= factor
    parts = weights * changed.norm(dim=1)
    before, after = weights @ values, weights @ changed
    assert got[0] == pytest.approx(changed.norm(dim=1).tolist(), abs=1e-5)
    assert got[1] == pytest.approx((parts / parts.sum()).tolist(), abs=1e-5)
    assert got[2] == pytest.approx(float((after - before).norm() / before.norm()), abs=1e-5)
    assert got[3] == pytest.approx(weights.tolist())

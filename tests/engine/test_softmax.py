"""Exponentials in pieces, with a gradient, and in float64 are equal."""

from __future__ import annotations

import pytest
import torch

from attnviz.attention.kernel.blocks import Workspace
from attnviz.attention.kernel.softmax import exponentials, exponentials_with_gradient
from tests.bounds import CALL, CALL_NATS

BATCH, HEADS, ROWS, KEYS = 2, 3, 4, 9


@pytest.fixture(params=["plain", "sharp"])
def scores(request: pytest.FixtureRequest) -> torch.Tensor:
    tensor = torch.randn(BATCH, HEADS, ROWS, KEYS, generator=torch.Generator().manual_seed(0))
    return tensor * (60 if request.param == "sharp" else 1)


@pytest.fixture
def masked() -> list[tuple[slice, torch.Tensor]]:
    """Return two ranges of hidden keys; the last row of the first text sees no key."""
    hidden = torch.rand(BATCH, 1, ROWS, KEYS, generator=torch.Generator().manual_seed(1)) < 0.4
    hidden[0, :, -1] = True
    return [(slice(0, 4), hidden[..., :4]), (slice(4, KEYS), hidden[..., 4:])]


@pytest.mark.parametrize("sinks", [None, torch.tensor([-2.0, 0.0, 90.0])])
@pytest.mark.parametrize("piece", [1, 2 * KEYS, 5 * KEYS, 1 << 20])
def test_pieces_equal_one_softmax(
    scores: torch.Tensor,
    masked: list[tuple[slice, torch.Tensor]],
    sinks: torch.Tensor | None,
    piece: int,
) -> None:
    hidden = torch.cat([flags for _, flags in masked], -1)
    exact = scores.double().masked_fill(hidden, -torch.inf)
    extra = torch.full_like(exact[..., :1], -torch.inf)
    if sinks is not None:
        extra = sinks.double()[:, None, None].expand_as(extra)
    truth = torch.cat([exact, extra], -1).softmax(-1)[..., :-1].nan_to_num(0.0)

    with_gradient, its_sums = exponentials_with_gradient(scores.clone(), sinks, masked)
    exps, sums = exponentials(
        scores, sinks, masked, observed=True, workspace=Workspace(), piece=piece
    )
    for computed, one in ((exps, sums), (with_gradient, its_sums)):
        torch.testing.assert_close(
            (computed / one.total[..., None]).double(), truth, atol=CALL, rtol=0
        )
        torch.testing.assert_close(one.max_weight.double(), truth.amax(-1), atol=CALL, rtol=0)
        entropy = torch.special.entr(truth).sum(-1)
        torch.testing.assert_close(one.entropy.double(), entropy, atol=CALL_NATS, rtol=0)
        assert not computed.masked_select(hidden).any()
    if sinks is None:
        assert not sums.highest[0, :, -1].any(), "no score, so nothing was taken off"
        assert not sums.mass[0, :, -1].any()

"""Selective scan of Mamba (Gu and Dao 2023) for training on a processor.

The library's loop makes a small tensor of every intermediate result at every position and keeps all
of them for the backward pass. Here the loops over positions hold nothing but the recurrence, in
place; everything else is computed for all positions at once. A test compares results and gradients
with the library's loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.jamba import modeling_jamba


class Scan(torch.autograd.Function):
    """Outputs of the recurrence h[t] = exp(dt[t] A) h[t-1] + u[t] B[t], y[t] = h[t] C[t].

    Position comes first: u, dt and y are [position, row, channel], B and C [position, row, state],
    A is [state, channel], all in 32 bits. Channels come last everywhere, because there are many.
    """

    @staticmethod
    def forward(context: Any, u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Return y, and keep the decays and the states for the backward pass."""
        decays = (dt[:, :, None] * a).exp_()  # (position, row, state, channel)
        states = u[:, :, None] * b[..., None]
        for place in range(1, len(states)):
            states[place].addcmul_(states[place - 1], decays[place])
        context.save_for_backward(u, dt, a, b, c, decays, states)
        return (states * c[..., None]).sum(2)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of u, dt, A, B and C."""
        u, dt, a, b, c, decays, states = context.saved_tensors
        (to_y,) = upstream
        to_states = to_y[:, :, None] * c[..., None]
        for place in range(len(to_states) - 2, -1, -1):
            to_states[place].addcmul_(to_states[place + 1], decays[place + 1])
        to_c = (states * to_y[:, :, None]).sum(3)
        to_b = (to_states * u[:, :, None]).sum(3)
        to_u = (to_states * b[..., None]).sum(2)
        to_exponents = torch.zeros_like(states)  # the state before the first position is zero
        torch.mul(to_states[1:], decays[1:], out=to_exponents[1:])
        to_exponents[1:].mul_(states[:-1])
        to_dt = (to_exponents * a).sum(2)
        to_a = to_exponents.mul_(dt[:, :, None]).sum((0, 1))
        return to_u, to_dt, to_a, to_b, to_c


def selective_scan(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    delta_bias: Tensor,
    **_: Any,
) -> Tensor:
    """Return what the library's `mamba_selective_scan` returns without a last state.

    `hidden_states`, `dt`, `z` and the result are [row, channel, position], `A` is [channel, state],
    `B` and `C` are [row, state, position], `D` and `delta_bias` have one number per channel.
    """
    with torch.autocast(hidden_states.device.type, enabled=False):
        inputs = hidden_states.float().permute(2, 0, 1)
        steps = functional.softplus(dt.float().permute(2, 0, 1) + delta_bias)
        read: Tensor = Scan.apply(  # type: ignore[no-untyped-call]
            (inputs * steps).contiguous(),
            steps.contiguous(),
            A.t().contiguous(),
            B.float().permute(2, 0, 1).contiguous(),
            C.float().permute(2, 0, 1).contiguous(),
        )
        gated: Tensor = (read + inputs * D) * functional.silu(z.float().permute(2, 0, 1))
        return gated.permute(1, 2, 0)


@contextmanager
def quick_scan() -> Iterator[None]:
    """Let Jamba's layers use `selective_scan` for a while, in place of the library's loop."""
    before = modeling_jamba.mamba_selective_scan
    modeling_jamba.mamba_selective_scan = selective_scan
    try:
        yield
    finally:
        modeling_jamba.mamba_selective_scan = before

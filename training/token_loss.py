"""Loss over a whole vocabulary, a few rows at a time: all logits never exist at once."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 512  # rows of logits that exist at a time

Losses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def can_compile() -> bool:
    """Return whether there is the C++ compiler that `torch.compile` needs."""
    return shutil.which("g++") is not None


def row_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of every row in nats and the gradient of their sum, [row, token]."""
    chances = torch.log_softmax(logits.float(), -1)
    losses = -chances.gather(1, target[:, None])[:, 0]
    right = torch.arange(logits.shape[1], device=target.device)[None] == target[:, None]
    return losses, (chances.exp() - right.float()).to(logits.dtype)


class MeanLoss(torch.autograd.Function):
    """Mean loss of rows of states, and the loss of each row without a gradient."""

    @staticmethod
    def forward(
        context: Any, states: Tensor, table: Tensor, target: Tensor, losses: Losses
    ) -> tuple[Tensor, Tensor]:
        """Compute the losses, in nats, and with them their gradients."""
        matrix = table.to(states.dtype)
        to_states = torch.empty_like(states)
        to_table = torch.zeros_like(table)
        chunks = []
        for start in range(0, len(states), CHUNK):
            part = slice(start, start + CHUNK)
            loss, gradient = losses(functional.linear(states[part], matrix), target[part])
            chunks.append(loss)
            torch.mm(gradient, matrix, out=to_states[part])
            to_table += gradient.t() @ states[part]
        each = torch.cat(chunks)
        context.save_for_backward(to_states, to_table)
        context.mark_non_differentiable(each)
        return each.mean(), each

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for states and table, times what comes from above."""
        to_states, to_table = context.saved_tensors
        factor = upstream[0] / len(to_states)
        return to_states * factor.to(to_states.dtype), to_table * factor, None, None

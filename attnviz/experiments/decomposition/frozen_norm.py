"""Norm layers as linear maps, with the statistics of one input held fixed.

A norm is y = gain * (x - mean(x)) / size(x) + offset, without the mean in an RMS norm. Gain, offset
and whether there is a mean are read from the layer's answers to two inputs, so that no class of a
library has to be known: LayerNorm, RMSNorm, and RMS norms with 1 + weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.errors import InputError

__all__ = ["Norm", "NormCall", "norms_recorded", "read_norm"]


@dataclass(frozen=True)
class Norm:
    """Gain and offset of a norm, per dimension, and whether it subtracts the mean."""

    gain: Float[Tensor, " width"]
    offset: Float[Tensor, " width"]
    centred: bool

    def unscaled(self, vectors: Float[Tensor, "*place width"]) -> Float[Tensor, "*place width"]:
        """Return the norm without its division and its offset; linear in `vectors`."""
        if self.centred:
            vectors = vectors - vectors.mean(-1, keepdim=True)
        return vectors * self.gain


@dataclass(frozen=True)
class NormCall:
    """Call of a norm in a forward pass: name, module, input and output."""

    name: str
    module: nn.Module
    given: Float[Tensor, "*place width"]
    output: Float[Tensor, "*place width"]


def read_norm(module: nn.Module, width: int) -> Norm:
    """Return gain and offset of a norm layer.

    Raises:
        InputError: the layer's answers are not those of a norm.
    """
    weight = next(module.parameters(), torch.ones(1))
    even = torch.ones(width, device=weight.device, dtype=weight.dtype)
    turns = even.clone()
    turns[1::2] = -1  # mean 0 and size 1, as the width is even
    if width % 2:
        turns[-1] = 0
    size = float(turns.double().square().mean().sqrt())
    with torch.inference_mode():  # forward, not a call: hooks may stand on the layer
        one, two = (module.forward(sign * turns[None])[0].double() for sign in (1, -1))
        high, low = (module.forward(sign * even[None])[0].double() for sign in (1, -1))
    flat = (high - low) / 2  # the gain of an RMS norm; 0 where the mean is subtracted
    swing = (one - two) / 2 * turns.double() * size
    largest = float(swing.abs().max())
    centred = float(flat.abs().max()) < 1e-2 * largest
    gain = swing if centred else flat
    if not largest > 0 or (width % 2 and centred):
        raise InputError("a norm of this model could not be read as gain and offset")
    return Norm(gain, (one + two) / 2, centred)


@contextmanager
def norms_recorded(network: nn.Module) -> Iterator[list[NormCall]]:
    """Collect the calls of all norm layers of a forward pass, in their order."""
    calls: list[NormCall] = []

    def behind(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: object) -> None:
            if arguments and isinstance(output, Tensor) and output.shape == arguments[0].shape:
                calls.append(NormCall(name, module, arguments[0], output))

        return hook

    handles = [
        module.register_forward_hook(behind(name))
        for name, module in network.named_modules()
        if "norm" in type(module).__name__.lower() and not list(module.children())
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()

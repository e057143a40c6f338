"""Matrices of each head, from the residual stream to queries, keys and values, and back.

They are read from the model's answers to the unit vectors, so that no names of weights have to be
known: in one forward pass over texts of one token, every attention module reads the unit vectors in
place of its input. The first position is not rotated by rotary positions. The gain of the norm
before the module is part of the matrices, as is its subtraction of the mean; its division is not.
Norms inside the module (of queries and keys in Qwen3, of a latent vector in DeepSeek) are treated
likewise: each divides the whole vector of a head by one number per token, which changes no
direction. Where such a norm divides only a part of the vector, the vector has no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention import Places, body_of
from attnviz.attention.call_changes import changing
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.decomposition.frozen_norm import norms_recorded, read_norm
from attnviz.experiments.hooked_model import HookedModel
from attnviz.models import Model, call_options
from attnviz.types import Kind

__all__ = ["HeadMatrices", "head_matrices"]

LINEAR = 1e-3
"""Largest error of the matrices on a random vector, as a share of the largest number."""


@dataclass(frozen=True)
class HeadMatrices:
    """Matrices of all heads of one kind; vectors are rows and multiply from the left.

    Attributes:
        query: from the stream to the queries; None where they have no matrix.
        key: from the stream to the keys; equal for heads that share them; None likewise.
        value: from the stream to the values; equal for heads that share them; None likewise.
        output: from a head's output to the stream.
        key_heads: number of heads with keys of their own.
    """

    query: Float[Tensor, "layer head width dim"] | None
    key: Float[Tensor, "layer head width dim"] | None
    value: Float[Tensor, "layer head width value_dim"] | None
    output: Float[Tensor, "layer head value_dim width"]
    key_heads: int


def head_matrices(model: Model, kind: Kind) -> HeadMatrices:
    """Return the matrices of all heads of a kind of self-attention.

    Raises:
        InputError: cross-attention, which reads two streams; a model that runs one module for
            several layers.
    """
    if kind not in model.info.heads or kind == "cross":
        raise InputError(
            f"matrices are read of self-attention, not of {kind!r}: cross-attention reads two "
            "streams"
        )
    hooked = HookedModel.of(model)
    layers, heads = model.info.heads[kind]
    if hooked.places().shared or "input_ids" not in model.sites.reads:
        raise InputError(f"{model.info.name} has no separate attention module for each layer")
    projections = hooked.projections()[kind]
    output = [one for one in projections if one is not None]
    if len(output) < layers:
        raise InputError(f"what the heads of {model.info.name} add could not be followed")
    width = output[0].shape[-1]
    read = _Readings(hooked, kind, width)
    read.run()
    each: dict[str, list[Tensor] | None] = {"query": [], "key": [], "value": []}
    for layer in range(layers):
        for name, matrix in read.of(layer).items():
            known = each[name]
            if known is None or matrix is None:
                each[name] = None
            else:
                known.append(matrix.repeat_interleave(heads // len(matrix), 0))
    query, key, value = (None if one is None else torch.stack(one) for one in each.values())
    return HeadMatrices(query, key, value, torch.stack(output).double(), model.info.key_heads[kind])


class _Readings:
    """Change of attention calls that keeps queries, keys and values of the unit vectors."""

    def __init__(self, hooked: HookedModel, kind: Kind, width: int) -> None:
        self.hooked = hooked
        self.kind = kind
        self.width = width
        self.places: Places = hooked.places()
        self.calls: list[dict[int, Call]] = []
        self.norms: dict[int, nn.Module] = {}
        device, dtype = hooked.network.device, hooked.network.dtype
        generator = torch.Generator().manual_seed(0)
        check = torch.randn(1, width, generator=generator)
        rows = torch.cat([torch.eye(width), torch.zeros(1, width), check])
        self.rows = rows.to(device, dtype)

    def call(self, call: Call) -> Call:
        """Keep a call; return it unchanged."""
        place = self.places.of(call)
        if place is not None and place[0] == self.kind:
            self.calls[-1][place[1]] = call
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output unchanged."""
        return output

    def run(self) -> None:
        """Run the model twice; its attention modules read the unit vectors.

        The norms inside of them divide by 1 in the first run and by 1/2 in the second one.
        """
        for factor in (1.0, 2.0):
            self.calls.append({})
            handles = [
                module.register_forward_hook(_undivided(factor))
                for name in self.hooked.names[self.kind]
                for module in self.hooked.network.get_submodule(name).modules()
                if "norm" in type(module).__name__.lower() and not list(module.children())
            ]
            try:
                self._read()
            finally:
                for handle in handles:
                    handle.remove()

    def _read(self) -> None:
        network = self.hooked.network
        names = self.hooked.names[self.kind]
        with torch.inference_mode(), norms_recorded(network) as norms, changing(self):

            def replaced(layer: int) -> Any:
                def hook(module: nn.Module, arguments: Any, options: Any) -> Any:
                    given = arguments[0] if arguments else options["hidden_states"]
                    before = [one.module for one in norms if one.output is given]
                    if before:
                        self.norms[layer] = before[-1]
                    rows = self.rows[:, None].expand_as(given)
                    if arguments:
                        return (rows, *arguments[1:]), options
                    return arguments, {**options, "hidden_states": rows}

                return hook

            handles = [
                network.get_submodule(name).register_forward_pre_hook(
                    replaced(layer), with_kwargs=True
                )
                for layer, name in enumerate(names)
            ]
            try:
                ids = torch.full((len(self.rows), 1), 5, device=network.device)
                inputs = {"input_ids": ids}
                if self.hooked.model.info.family == "encoder-decoder":
                    inputs["decoder_input_ids"] = ids
                body = body_of(network)
                body(**inputs, **call_options(self.hooked.model, body))
            finally:
                for handle in handles:
                    handle.remove()

    def of(self, layer: int) -> dict[str, Float[Tensor, "head width dim"] | None]:
        """Return the matrices of one layer, with the gain of the norm before it.

        None for vectors that are not linear, or of which a norm divides only a part.
        """
        matrices: dict[str, Tensor | None] = {}
        for name in ("query", "key", "value"):
            answers, others = (
                getattr(calls[layer], name)[:, :, 0].double().transpose(0, 1)  # (h, rows, d)
                for calls in self.calls
            )
            zero = answers[:, self.width : self.width + 1]
            matrix = answers[:, : self.width] - zero
            expected = self.rows[-1].double() @ matrix + zero[:, 0]
            again = others[:, : self.width] - others[:, self.width : self.width + 1]
            ratio = float((again * matrix).sum() / matrix.square().sum())
            if not (_agree(answers[:, -1], expected) and _agree(again, ratio * matrix)):
                matrices[name] = None
                continue
            if layer in self.norms:
                norm = read_norm(self.norms[layer], self.width)
                matrix = norm.gain[:, None] * matrix
                if norm.centred:
                    matrix = matrix - matrix.mean(1, keepdim=True)
            matrices[name] = matrix
        return matrices


def _agree(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= LINEAR * float(other.abs().max())


def _undivided(factor: float) -> Any:
    """Return a hook that gives a norm's output without its division, times a factor."""

    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = arguments[0]
        norm = read_norm(module, given.shape[-1])
        return (factor * norm.unscaled(given.double())).to(output.dtype)

    return hook

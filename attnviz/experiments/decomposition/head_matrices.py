"""Matrices of each head, from the residual stream to queries, keys and values, and back.

They are read from the model's answers to the unit vectors, so that no names of weights have to be
known: in one forward pass over texts of one token, every attention module reads the unit vectors in
place of its input. The first position is not rotated by rotary positions. The gain of the norm
before the module is part of the matrices, as is its subtraction of the mean; its division is not.
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
        query: from the stream to the queries.
        key: from the stream to the keys; equal for heads that share them.
        value: from the stream to the values; equal for heads that share them.
        output: from a head's output to the stream.
        key_heads: number of heads with keys of their own.
    """

    query: Float[Tensor, "layer head width dim"]
    key: Float[Tensor, "layer head width dim"]
    value: Float[Tensor, "layer head width value_dim"]
    output: Float[Tensor, "layer head value_dim width"]
    key_heads: int


def head_matrices(model: Model, kind: Kind) -> HeadMatrices:
    """Return the matrices of all heads of a kind of self-attention.

    Raises:
        InputError: cross-attention, which reads two streams; a model that runs one module for
            several layers, or whose queries are not linear in the stream (a norm on queries).
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
    each: dict[str, list[Tensor]] = {"query": [], "key": [], "value": []}
    for layer in range(layers):
        for name, matrix in read.of(layer).items():
            each[name].append(matrix.repeat_interleave(heads // len(matrix), 0))
    return HeadMatrices(
        torch.stack(each["query"]),
        torch.stack(each["key"]),
        torch.stack(each["value"]),
        torch.stack(output).double(),
        model.info.key_heads[kind],
    )


class _Readings:
    """Change of attention calls that keeps queries, keys and values of the unit vectors."""

    def __init__(self, hooked: HookedModel, kind: Kind, width: int) -> None:
        self.hooked = hooked
        self.kind = kind
        self.width = width
        self.places: Places = hooked.places()
        self.calls: dict[int, Call] = {}
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
            self.calls[place[1]] = call
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output unchanged."""
        return output

    def run(self) -> None:
        """Run the model once; its attention modules read the unit vectors."""
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

    def of(self, layer: int) -> dict[str, Float[Tensor, "head width dim"]]:
        """Return the matrices of one layer, with the gain of the norm before it."""
        call, matrices = self.calls[layer], {}
        for name in ("query", "key", "value"):
            answers = getattr(call, name)[:, :, 0].double().transpose(0, 1)  # (h, rows, d)
            zero = answers[:, self.width : self.width + 1]
            matrix = answers[:, : self.width] - zero
            expected = self.rows[-1].double() @ matrix + zero[:, 0]
            error = float((expected - answers[:, -1]).abs().max())
            if error > LINEAR * float(expected.abs().max()):
                raise InputError(
                    f"the {name} vectors of {self.hooked.model.info.name} are not linear in what "
                    "the layer reads, so they have no matrix"
                )
            if layer in self.norms:
                norm = read_norm(self.norms[layer], self.width)
                matrix = norm.gain[:, None] * matrix
                if norm.centred:
                    matrix = matrix - matrix.mean(1, keepdim=True)
            matrices[name] = matrix
        return matrices

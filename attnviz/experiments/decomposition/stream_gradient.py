"""Gradient of a prediction along the residual stream alone, with everything else held fixed.

Within the blocks every product with a matrix is a constant, so that neither attention nor an MLP
passes a gradient on: what is left is the way from block to block. The statistics of the norms on it
are held fixed as they are on this input, and so is the share of each number that an activation
between the last block and the vocabulary lets through (GELU: x times its factor). Then a logit is
linear in the stream at every place. Sources: Elhage et al. 2021 (norms held fixed), Kobayashi et
al. 2021 (norms behind the residual connection), Achtibat et al. 2024 (activations held fixed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.errors import InputError
from attnviz.experiments.decomposition.frozen_norm import read_norm
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import stream_of, with_stream
from attnviz.types import Kind

__all__ = ["AGREEMENT", "StreamRun"]

AGREEMENT = 1e-3
"""Largest difference, as a share of the largest number, of a step that is taken to be linear."""

PRODUCTS = frozenset(
    (
        *("linear", "addmm", "mm", "bmm", "matmul", "__matmul__", "einsum", "baddbmm", "conv1d"),
        *("scaled_dot_product_attention", "grouped_mm", "_grouped_mm"),
    )
)
ACTIVATIONS = frozenset(("gelu", "relu", "silu", "tanh"))

Place = tuple[Kind, int]


@dataclass
class StreamRun(TorchFunctionMode):
    """Forward pass of a model whose gradient goes along the residual stream alone.

    Args:
        hooked: the model.
        blocks: names of the blocks of the stack that predicts, in order.
        projections: output projection of each head, of layers whose outputs are to be known.

    Attributes:
        streams: before the first block, and behind each block.
        outputs: what the output projections give, by place.
        activation: whether an activation behind the last block was held fixed.
        words: output of the vocabulary's matrix.
        logits: of the model.
    """

    hooked: HookedModel
    blocks: list[str]
    projections: Mapping[Place, Float[Tensor, "head value_dim width"]]
    streams: list[Float[Tensor, "1 position width"]] = field(default_factory=list)
    outputs: dict[Place, Tensor] = field(default_factory=dict)
    activation: bool = False
    words: Tensor = field(init=False)
    logits: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()
        self._stage: Literal["before", "block", "between", "behind", "after"] = "before"

    def run(self, inputs: dict[str, Tensor]) -> None:
        """Run the model.

        Raises:
            InputError: no matrix from stream to vocabulary, or a norm that cannot be read.
        """
        network = self.hooked.network
        head = network.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            raise InputError(f"{self.hooked.model.info.name} has no matrix from stream to words")

        def keep(module: nn.Module, arguments: Any, output: Tensor) -> None:
            self.words, self._stage = output, "after"

        handles = [head.register_forward_hook(keep)]
        first = network.get_submodule(self.blocks[0])
        handles.append(first.register_forward_pre_hook(self._begin, with_kwargs=True))
        for name in self.blocks:
            block = network.get_submodule(name)
            handles.append(block.register_forward_pre_hook(self._enter))
            handles.append(block.register_forward_hook(self._leave))
        for module in network.modules():
            kind = type(module).__name__.lower()
            if "norm" in kind and not list(module.children()):
                handles.append(module.register_forward_hook(self._norm))
            elif "activation" in type(module).__module__ and not list(module.children()):
                handles.append(module.register_forward_hook(self._activation))
        try:
            with torch.enable_grad(), self:
                self.logits = self.hooked.run(inputs).logits
        finally:
            for handle in handles:
                handle.remove()

    def gradients(self, value: Tensor, at: int) -> tuple[list[Tensor], dict[Place, Tensor]]:
        """Return the gradients of a number at one position, by stream and by output, float64."""
        every = [*self.streams, *self.outputs.values()]
        slopes = torch.autograd.grad(value, every, allow_unused=True)
        rows = [
            (torch.zeros_like(one) if slope is None else slope)
            .reshape(1, -1, one.shape[-1])[0, at]
            .double()
            for one, slope in zip(every, slopes, strict=True)
        ]
        count = len(self.streams)
        return rows[:count], dict(zip(self.outputs, rows[count:], strict=True))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a function; a product within a block passes no gradient on."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        product = self._stage == "block" and name in PRODUCTS
        if product or self._stage == "before":
            with torch.no_grad():
                output = func(*args, **kwargs)
            return self._known(name, args, output) if product else output
        output = func(*args, **kwargs)
        if self._stage == "behind" and name in ACTIVATIONS:
            return self._activation(None, args, output)
        return output

    def _known(self, name: str, args: tuple[Any, ...], output: Any) -> Any:
        """Return a product; one with an output projection is kept, and begins a gradient."""
        at = {"linear": 1, "addmm": 2, "matmul": 1, "mm": 1}.get(name)
        weight = None if at is None else args[at]
        if weight is None or not isinstance(weight, Tensor) or weight.dim() != 2:
            return output
        matrix = weight.t() if name == "linear" else weight
        for place, projection in self.projections.items():
            same = place not in self.outputs and matrix.numel() == projection.numel()
            if same and torch.equal(matrix.reshape(projection.shape), projection):
                self.outputs[place] = output.detach().requires_grad_()
                return self.outputs[place].clone()  # the model may change it in place
        return output

    def _begin(self, module: nn.Module, arguments: Any, options: dict[str, Any]) -> Any:
        self._stage = "between"
        given = arguments[0] if arguments else options["hidden_states"]
        start = given.detach().requires_grad_()
        self.streams.append(start)
        if arguments:
            return (start.clone(), *arguments[1:]), options
        return arguments, {**options, "hidden_states": start.clone()}

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        self._stage = "block"

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        self.streams.append(stream_of(output))
        self._stage = "behind" if len(self.streams) > len(self.blocks) else "between"
        return with_stream(output, self.streams[-1])

    def _norm(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        known = bool(arguments) and isinstance(output, Tensor) and self._stage != "before"
        return _frozen_norm(module, arguments[0], output) if known else None

    def _activation(self, module: nn.Module | None, arguments: Any, output: Tensor) -> Any:
        """Return an activation behind the last block as a product with fixed factors."""
        if self._stage != "behind":
            return None
        self.activation, given = True, arguments[0]
        factor = (output / given).detach()
        return given * torch.where(given == 0, 0, factor)


def _frozen_norm(module: nn.Module, given: Tensor, output: Tensor) -> Tensor:
    """Return a norm's output with a gradient that leaves its statistics out.

    Raises:
        InputError: the output is not that of a norm.
    """
    if not given.requires_grad:
        return output
    with torch.no_grad():
        norm = read_norm(module, given.shape[-1])
        plain, normed = norm.unscaled(given.double()), output.double() - norm.offset
        size = plain.square().sum(-1, keepdim=True) / (plain * normed).sum(-1, keepdim=True)
        error = (plain / size - normed).abs().max()
    if not float(error) <= AGREEMENT * float(normed.abs().max()):
        raise InputError("a norm of this model is no division by a number per position")
    frozen = (norm.unscaled(given.double()) / size).to(output.dtype)
    return frozen + (output - frozen).detach()

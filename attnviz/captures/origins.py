"""Origin of numbers that are not finite (NaN, infinity): a weight, a module, a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture, model_inputs
from attnviz.models import Model, twin
from attnviz.types import Head, Kind

__all__ = ["Origin", "broken_weights", "first_head", "origin_of"]

LISTED = 3  # weights that a sentence names


@dataclass(frozen=True)
class Origin:
    """Beginning of numbers that are not finite.

    Attributes:
        weights: names of the model's weights that hold NaN or infinity; the one that is used first
            in this run comes first.
        module: name of the first module that gives such a number for finite inputs; "" if the run
            gives none.
        head: the first head with such a number in its weights or values; None if all are finite.
        dtype: what the model computes in.
    """

    weights: tuple[str, ...]
    module: str
    head: Head | None
    dtype: str

    @property
    def sentence(self) -> str:
        """Return what is not finite and where it begins, in one sentence without a full stop."""
        if self.weights:
            more = len(self.weights) - LISTED
            named = ", ".join(f"'{name}'" for name in self.weights[:LISTED])
            named += f" and {more} more" if more > 0 else ""
            text = f"NaN or infinity in the model's weights: {named}"
            if not self.module:
                return f"{text}; this input does not reach them"
        else:
            text = (
                "NaN or infinity on this input, although all weights are finite: it begins in "
                f"'{self.module or 'the logits'}'"
            )
            if self.dtype == "float16":
                text += " (float16 ends at 65,504; load the model with dtype='float32')"
        if self.head is None:
            return f"{text}; the attention of all heads is finite"
        return f"{text}; the first head that is not finite is {self.head.label}"


def broken_weights(network: nn.Module) -> tuple[str, ...]:
    """Return the names of all weights that hold NaN or infinity, and of buffers that hold NaN.

    A buffer may hold -inf on purpose: masks do.
    """
    weights = [name for name, one in network.named_parameters() if not _is_finite(one)]
    buffers = [
        name
        for name, one in network.named_buffers()
        if one.is_floating_point() and bool(one.isnan().any())
    ]
    return (*weights, *buffers)


def first_head(stacks: Mapping[Kind, AttentionStack]) -> Head | None:
    """Return the first head, in the order of the run, whose numbers are not finite."""
    heads = [
        Head(kind, int(layer), int(head))
        for kind, stack in stacks.items()
        for layer, head in zip(*stack.not_finite.nonzero(), strict=True)
    ]
    # The encoder runs before the decoder, whose own and cross attention take turns.
    return min(heads, key=lambda one: (one.kind != "encoder", one.layer), default=None)


def origin_of(
    model: Model, capture: Capture, *, weights: tuple[str, ...] | None = None
) -> Origin | None:
    """Find where NaN or infinity begin in a capture's run; None if everything is finite.

    Costs one forward pass on a twin of the model, with a hook on each module.

    Args:
        model: what the capture was taken from.
        capture: whose input is run again.
        weights: from `broken_weights`, if it is known already.
    """
    if weights is None:
        weights = broken_weights(model.original)
    watch = _Watch()
    with torch.inference_mode():
        network = twin(model.original)
        watch.hook(network)
        network(**model_inputs(model, [capture.inputs]))
    head = first_head(capture.stacks)
    if not (weights or watch.module or head):
        return None
    first = [name for name in weights if watch.module and _belongs(name, watch.module)]
    ordered = (*first, *(name for name in weights if name not in first))
    return Origin(ordered, watch.module, head, model.info.dtype)


@dataclass
class _Watch:
    """First module whose output is not finite although its inputs are."""

    module: str = ""
    _hooks: list[Any] = field(default_factory=list)

    def hook(self, network: nn.Module) -> None:
        """Watch every module of a twin; it is thrown away after its run."""
        for name, module in network.named_modules():
            if name:
                module.register_forward_hook(self._seen(name), with_kwargs=True)

    def _seen(self, name: str) -> Any:
        def hook(
            module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any
        ) -> None:
            if self.module or all(map(_is_finite, _tensors(output))):
                return
            # Not finite before this module: what its parent did between two modules made it so.
            given = all(map(_is_finite, _tensors((inputs, named))))
            self.module = name if given else name.rpartition(".")[0] or name

        return hook


def _belongs(weight: str, module: str) -> bool:
    """Return whether a weight is of a module or of its parts."""
    return weight.startswith(f"{module}.")


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield all tensors of numbers in arguments or outputs, at any depth.

    Masks of attention are left out.
    """
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if "mask" not in name:
                yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


def _is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor holds neither NaN nor infinity.

    Whole numbers and empty tensors hold neither.
    """
    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
        return True
    if tensor.element_size() < 2:  # eight bits have no minimum in torch
        tensor = tensor.float()
    ends = torch.stack(tensor.detach().aminmax())  # NaN if any number is; no table of flags
    return bool(ends.isfinite().all())

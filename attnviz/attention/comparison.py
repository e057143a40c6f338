"""A stack beside the library's own eager run, compared layer by layer while that runs.

The library would hand over the weights of all layers at the end; here each layer's are compared as
soon as they are made and then let go, so that those of one layer exist at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention.stack import AttentionStack
from attnviz.errors import ModelNotSupported
from attnviz.types import Family, Head, Kind

__all__ = ["Comparison", "is_linear"]


def is_linear(module: nn.Module) -> bool:
    """Whether it maps vectors by a matrix: `Linear`, GPT-2's `Conv1D` and the like."""
    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, nn.Parameter)
        and weight.dim() == 2
        and not isinstance(module, nn.Embedding)
    )


@dataclass
class _Found:
    """What was found out about one layer."""

    apart: Float[np.ndarray, " head"]
    leak: float = 0.0
    row_sum: float = 0.0
    reconstruction: float | None = None


@dataclass
class _Layer:
    """The layer that ran last, until its output projection has run too."""

    place: tuple[Kind, int]
    block: str
    mixed: Float[np.ndarray, "query head_value_dim"]


@dataclass
class Comparison:
    """Watches a twin of the model run.

    Args:
        stacks: what was captured, with weights.
        family: of the model.
        with_weights: whether the twin gives its weights; otherwise only the layers' outputs are
            compared with what our weights and values make.
    """

    stacks: Mapping[Kind, AttentionStack]
    family: Family
    with_weights: bool = True
    _found: dict[tuple[Kind, int], _Found] = field(default_factory=dict)
    _due: dict[str, list[tuple[Kind, int]]] = field(default_factory=dict)
    _shapes: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    _linears: dict[str, list[tuple[Tensor, Tensor, nn.Module]]] = field(default_factory=dict)
    _last: _Layer | None = None
    _trying: bool = False

    def watch(self, twin: nn.Module) -> None:
        """Be told of the twin's attention modules and of the linear layers around them."""
        for kind, stack in self.stacks.items():
            for number, layer in enumerate(stack.layers):
                self._due.setdefault(layer.module_name, []).append((kind, number))
                assert layer.value is not None or not stack.keeps_weights  # noqa: S101
                wide = 0 if layer.value is None else stack.shape[1] * layer.value.shape[-1]
                shapes = self._shapes.setdefault(_block(layer.module_name), set())
                shapes.add((stack.shape[2], wide))
        for name, module in twin.named_modules():
            if name in self._due:
                # Before the library's own hooks, which would keep what they see.
                module.register_forward_hook(self._attention_hook(name), prepend=True)
            blocks = [block for block in self._shapes if f".{name}".startswith(f".{block}.")]
            if blocks and is_linear(module):
                module.register_forward_hook(self._linear_hook(blocks))

    def finish(self) -> None:
        """Called after the run, when the last layer's projection has been seen too."""
        self._rebuild("")

    def check_complete(self) -> None:
        """Raise ModelNotSupported if the library has not given the weights of every layer."""
        for kind, stack in self.stacks.items():
            given = sum(place[0] == kind for place in self._found)
            if given != stack.shape[0]:
                raise ModelNotSupported(
                    f"the library gives {given} layers of {kind} attention where attnviz has seen "
                    f"{stack.shape[0]}; they cannot be compared"
                )

    def worst(self) -> tuple[float, Head]:
        """The largest difference of a weight, and its head."""
        weights, worst = 0.0, Head(next(iter(self.stacks)), 0, 0)
        for (kind, layer), found in self._in_order():
            if found.apart.max() > weights:
                weights = float(found.apart.max())
                worst = Head(kind, layer, int(found.apart.argmax()))
        return weights, worst

    def leak(self) -> float:
        """The largest weight on a key that should be invisible, by our account or the library's."""
        return max(found.leak for found in self._found.values())

    def row_sum(self) -> float:
        """How far rows are from a sum of one, what a learned sink took counted in."""
        return max(found.row_sum for found in self._found.values())

    def reconstructions(self) -> list[float | None]:
        """How far each layer's output is from what the shown weights and values give.

        Relative to the largest number. None where no linear layer took in what they make.
        """
        return [found.reconstruction for _, found in self._in_order()]

    def _in_order(self) -> list[tuple[tuple[Kind, int], _Found]]:
        kinds = list(self.stacks)
        return sorted(self._found.items(), key=lambda one: (kinds.index(one[0][0]), one[0][1]))

    def _attention_hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            if not self._due[name]:
                return None
            kind, layer = self._due[name].pop(0)
            self._rebuild(_block(name))
            if not self.with_weights:
                self._compare(kind, layer, name, None)
                return None
            shape = (1, *self.stacks[kind].shape[1:])
            parts = list(output) if isinstance(output, tuple) else [output]
            # T5 gives its position bias too, of the same shape: the weights come last.
            for place in reversed(range(len(parts))):
                part = parts[place]
                if isinstance(part, Tensor) and part.shape == shape:
                    self._compare(kind, layer, name, part[0])
                    parts[place] = part.new_empty(0)
                    return tuple(parts)
            return None

        return hook

    def _linear_hook(self, blocks: list[str]) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if self._trying or not (inputs and isinstance(inputs[0], Tensor)):
                return
            for block in blocks:
                if isinstance(output, Tensor) and inputs[0].shape[-2:] in self._shapes[block]:
                    self._linears.setdefault(block, []).append((inputs[0], output, module))

        return hook

    def _compare(self, kind: Kind, layer: int, name: str, theirs: Tensor | None) -> None:
        """Our weights of a layer, head by head, beside the library's."""
        stack = self.stacks[kind]
        heads = stack.shape[1]
        found = _Found(np.zeros(heads, np.float32))
        visible = stack.layers[layer].visibility.table()[0].numpy()
        mixed = []
        for head in range(heads):
            ours = stack.weights(layer, head)
            mixed.append(ours @ stack.value(layer, head))
            if theirs is not None:
                other = theirs[head].float().cpu().numpy()
                found.apart[head] = np.abs(ours - other).max()
                found.leak = max(found.leak, float(other[~visible].max(initial=0.0)))
            if kind == "decoder" or (kind == "self" and self.family == "decoder"):
                later = float(np.triu(ours, 1).max(initial=0.0))
                found.leak = max(found.leak, later)
            found.row_sum = max(found.row_sum, _row_sum_error(stack, layer, head, ours))
        self._found[kind, layer] = found
        self._last = _Layer((kind, layer), _block(name), np.concatenate(mixed, axis=-1))

    def _rebuild(self, next_block: str) -> None:
        """Compare the output of the layer that ran last, once another begins.

        The output projection is the linear layer that took in just what our weights and values
        make: no name has to be known.
        """
        last, self._last = self._last, None
        if last is None:
            return
        best: float | None = None
        self._trying = True  # the hooks must not see the projections that are tried out
        for went_in, came_out, module in self._linears.get(last.block, []):
            if went_in.shape[-2:] != last.mixed.shape:
                continue
            with torch.inference_mode():
                rebuilt = module(torch.from_numpy(last.mixed).to(went_in)[None])
            scale = came_out.float().abs().max().clamp_min(1e-6)
            error = float((rebuilt.float() - came_out.float()).abs().max() / scale)
            best = error if best is None else min(best, error)
        self._trying = False
        self._found[last.place].reconstruction = best
        if last.block != next_block:
            self._linears.pop(last.block, None)


def _block(name: str) -> str:
    """The module in which an attention module and its output projection are."""
    return name.rpartition(".")[0] or name


def _row_sum_error(
    stack: AttentionStack, layer: int, head: int, weights: Float[np.ndarray, "query key"]
) -> float:
    """How far the rows of a head are from a sum of one."""
    record = stack.layers[layer]
    assert record.normalizer is not None  # noqa: S101 - weights have been read from it
    sums = weights.sum(-1, dtype=np.float64)
    if record.sinks is not None:
        taken = (record.sinks[head].float().cpu() - record.normalizer.highest[head].cpu()).exp()
        sums += (taken / record.normalizer.total[head].cpu()).numpy()
    visible = record.visibility.count[0].numpy() > 0
    return float(np.abs(sums - 1.0)[visible].max(initial=0.0))

"""Comparison of captured weights with the library's eager run, and of outputs with weights.

The library returns the weights of all layers at the end; here each layer's are compared as soon as
they are computed and then released, so that those of one layer exist at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attnviz.attention.interventions import Places
from attnviz.attention.recorder import Call
from attnviz.attention.stack.attention_stack import AttentionStack
from attnviz.errors import ModelNotSupported
from attnviz.finite import largest_difference, largest_size
from attnviz.types import Head, Kind

__all__ = ["Comparison", "Outputs"]


@dataclass
class _LayerDifferences:
    """Largest differences of one layer: of weights per head, of the rest over all heads.

    `apart` is NaN for a head of which the library returns no finite weight; `finite` is False if
    any weight of the layer, by either side, or any value vector is not.
    """

    apart: Float[np.ndarray, " head"]
    leak: float = 0.0
    row_sum: float = 0.0
    finite: bool = True


@dataclass
class Comparison:
    """Comparison of captured weights with those of a twin that runs the library's eager attention.

    A key is hidden if the capture's mask hides it, or if its weight in the library's run is 0; the
    other side must give it no weight. No family of models is assumed to be causal.

    Attributes:
        stacks: stacks of the capture, with weights.
        weighted_values: per kind and layer the captured weights times the captured values,
            [query, head * value dim]; filled while the twin runs.
    """

    stacks: Mapping[Kind, AttentionStack]
    weighted_values: dict[tuple[Kind, int], Float[np.ndarray, "query head_value_dim"]] = field(
        default_factory=dict
    )
    _layers: dict[tuple[Kind, int], _LayerDifferences] = field(default_factory=dict)
    _due: dict[str, list[tuple[Kind, int]]] = field(default_factory=dict)

    def watch(self, twin: nn.Module) -> None:
        """Hook the twin's attention modules."""
        for kind, stack in self.stacks.items():
            for number, layer in enumerate(stack.layers):
                self._due.setdefault(layer.module_name, []).append((kind, number))
        for name, module in twin.named_modules():
            if name in self._due:
                # prepend: the library's hooks would keep the weights of all layers
                module.register_forward_hook(self._hook(name), prepend=True)

    def check_complete(self) -> None:
        """Raise ModelNotSupported if the library has not returned the weights of every layer."""
        for kind, stack in self.stacks.items():
            given = sum(place[0] == kind for place in self._layers)
            calls = stack.shape[0]
            if given == len({layer.module_name for layer in stack.layers}) < calls:
                raise ModelNotSupported(
                    f"each layer of this model calls attention {calls // given} times "
                    "(differential attention does), and the library returns the weights of one "
                    "call; attnviz shows models with one call per layer"
                )
            if given != calls:
                raise ModelNotSupported(
                    f"the library returns the weights of {given} layers of {kind} attention, and "
                    f"attnviz has recorded {calls} calls of it; they cannot be compared"
                )

    def worst(self) -> tuple[float, Head]:
        """Return the largest difference of a weight, and its head; NaN if no weight is finite."""
        weights, worst = 0.0, Head(next(iter(self.stacks)), 0, 0)
        compared = False
        for (kind, layer), differences in self._in_order():
            for head in np.flatnonzero(~np.isnan(differences.apart)):
                compared = True
                if differences.apart[head] > weights:
                    weights, worst = float(differences.apart[head]), Head(kind, layer, int(head))
        return (weights if compared else math.nan), worst

    def all_finite(self) -> bool:
        """Return True if all weights and values of the library's run and the capture are finite."""
        return all(one.finite for one in self._layers.values())

    def leak(self) -> float:
        """Return the largest weight of one side on a key that the other side hides."""
        return max(one.leak for one in self._layers.values())

    def row_sum(self) -> float:
        """Return the largest distance of a row's sum from one, a learned sink's share added."""
        return max(one.row_sum for one in self._layers.values())

    def _in_order(self) -> list[tuple[tuple[Kind, int], _LayerDifferences]]:
        kinds = list(self.stacks)
        return sorted(self._layers.items(), key=lambda one: (kinds.index(one[0][0]), one[0][1]))

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            if not self._due[name]:
                return None
            kind, layer = self._due[name].pop(0)
            shape = (1, *self.stacks[kind].shape[1:])
            parts = list(output) if isinstance(output, tuple) else [output]
            # T5 returns its position bias too, of the same shape: the weights come last.
            for place in reversed(range(len(parts))):
                part = parts[place]
                if isinstance(part, Tensor) and part.shape == shape:
                    self._compare(kind, layer, part[0])
                    parts[place] = part.new_empty(0)
                    return tuple(parts)
            return None

        return hook

    def _compare(self, kind: Kind, layer: int, theirs: Tensor) -> None:
        """Compare one layer's weights, head by head."""
        stack = self.stacks[kind]
        visibility = stack.layers[layer].visibility
        visible = visibility.table()[0].numpy()
        # A query without visible keys has weights 0; the library gives all keys the same weight.
        sees = visibility.count[0].numpy() > 0
        differences = _LayerDifferences(np.zeros(stack.shape[1], np.float32))
        outputs = []
        for head in range(stack.shape[1]):
            ours = stack.weights(layer, head)
            outputs.append(_weighted_values(ours, stack.value(layer, head), visible))
            other = theirs[head].float().cpu().numpy()
            sink = _sink_weights(stack, layer, head)
            if sink is not None and largest_size(other.sum(-1) - 1.0) < sink.max() / 2:
                other = other * (1.0 - sink[:, None])  # Granite returns weights without the sink
            differences.finite &= not stack.not_finite[layer, head]
            differences.finite &= bool(np.isfinite(other[sees]).all())
            differences.apart[head] = largest_difference(ours[sees], other[sees])
            hidden_here = largest_size(other[~visible & sees[:, None]])
            hidden_there = largest_size(ours[(other == 0.0) & sees[:, None]])
            differences.leak = max(differences.leak, hidden_here, hidden_there)
            sums = ours.sum(-1, dtype=np.float64) + (0.0 if sink is None else sink)
            differences.row_sum = max(differences.row_sum, largest_size(sums[sees] - 1.0))
        self._layers[kind, layer] = differences
        self.weighted_values[kind, layer] = np.concatenate(outputs, axis=-1)


def _weighted_values(
    weights: Float[np.ndarray, "query key"],
    values: Float[np.ndarray, "key value_dim"],
    visible: Bool[np.ndarray, "query key"],
) -> Float[np.ndarray, "query value_dim"]:
    """Return weights times values; NaN where a visible key's value is not finite.

    A key that a query does not see adds nothing to its row, also where 0 x NaN would be NaN.
    """
    finite = np.isfinite(values)
    sums: Float[np.ndarray, "query value_dim"] = weights @ np.where(finite, values, 0.0)
    if not finite.all():
        sums[visible.astype(np.float32) @ ~finite > 0] = np.nan
    return sums


def _sink_weights(
    stack: AttentionStack, layer: int, head: int
) -> Float[np.ndarray, " query"] | None:
    """Return the weight of the learned sink in each row; None if the layer has no sinks."""
    record = stack.layers[layer]
    if record.sinks is None or record.vectors is None:
        return None
    normalizer = record.vectors.normalizer
    relative = record.sinks[head].float().cpu() - normalizer.highest[head].cpu()
    weights: Float[np.ndarray, " query"] = (relative.exp() / normalizer.total[head].cpu()).numpy()
    return weights


@dataclass
class Outputs:
    """Intervention that compares each layer's output with an expected one and changes nothing.

    The output compared is that of the attention function, before any gate, norm or projection that
    the model applies to it.

    Attributes:
        places: kind and layer of a call.
        expected: per kind and layer, [query, head * value dim].
        apart: largest difference, as a share of the largest number of the layer's output; NaN
            before any finite output.
    """

    places: Places
    expected: Mapping[tuple[Kind, int], Float[np.ndarray, "query head_value_dim"]]
    apart: float = math.nan
    _seen: set[tuple[Kind, int]] = field(default_factory=set)

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Compare the output of one call; return it unchanged."""
        place = self.places.of(call)
        if place is not None:
            self._seen.add(place)
            theirs = output[0].float().cpu().flatten(1).numpy()
            apart = largest_difference(self.expected[place], theirs)
            apart /= max(largest_size(theirs), 1e-6)
            if not math.isnan(apart):
                self.apart = apart if math.isnan(self.apart) else max(self.apart, apart)
        return output

    @property
    def complete(self) -> bool:
        """True if every expected layer has run."""
        return self._seen == self.expected.keys()

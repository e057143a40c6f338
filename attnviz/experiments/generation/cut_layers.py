"""Cut caches on the library's cache interface: layers that drop or round keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from attnviz.attention import Places
from attnviz.attention.kernel.blocks import Block
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.rounded_numbers import RoundedGroup
from attnviz.models import Model

__all__ = ["EvictingLayer", "ReceivedWeights", "RoundedLayer", "cut_cache"]


class EvictingLayer(DynamicLayer):  # type: ignore[misc]
    """Cache layer that keeps at most `budget` tokens, one token read at a time.

    Attributes:
        cut: the rule.
        seen: number of tokens that were read.
        positions: position in the text of each kept token, [batch, key head, kept].
        received: sum of the weights that each kept token received, of all queries so far and of
            all query heads that share the key head, [batch, key head, kept].
    """

    positions: Int[Tensor, "batch head kept"]
    received: Float[Tensor, "batch head kept"]

    def __init__(self, cut: CacheCut) -> None:
        super().__init__()
        self.cut = cut
        self.seen = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append one token, drop what exceeds the budget, and return the kept keys and values."""
        if key_states.shape[-2] != 1:
            raise InputError("a cut cache reads one token at a time")
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            empty = key_states.new_zeros(*key_states.shape[:2], 0, dtype=torch.float32)
            self.positions, self.received = empty.long(), empty
        new = torch.full_like(self.positions[..., :1], self.seen) if self.seen else (
            self.positions.new_zeros(*self.positions.shape[:2], 1)
        )  # fmt: skip
        self.positions = torch.cat([self.positions, new], -1)
        self.received = torch.cat([self.received, torch.zeros_like(new, dtype=torch.float32)], -1)
        keys = super().update(key_states, value_states)[0]
        self.seen += 1
        if keys.shape[-2] > self.cut.budget:
            self._keep(self._kept())
        return self.keys, self.values

    def _kept(self) -> Int[Tensor, "batch head kept"]:
        """Return the places of the tokens that stay, in order of position."""
        count, cut = self.positions.shape[-1], self.cut
        places = torch.arange(count, device=self.positions.device)
        if cut.method == "window":
            kept = places[count - cut.budget :]
        elif cut.method == "first":
            kept = torch.cat([places[: cut.first], places[count - cut.budget + cut.first :]])
        else:
            old = self.received[..., : count - cut.recent]
            heavy = old.topk(cut.budget - cut.recent, dim=-1).indices.sort(-1).values
            last = places[count - cut.recent :].expand(*heavy.shape[:-1], -1)
            return torch.cat([heavy, last], -1)
        return kept.expand(*self.positions.shape[:-1], -1)

    def _keep(self, kept: Int[Tensor, "batch head kept"]) -> None:
        self.positions = self.positions.gather(-1, kept)
        self.received = self.received.gather(-1, kept)
        for name in ("keys", "values"):
            tensor = getattr(self, name)
            index = kept[..., None].expand(*kept.shape, tensor.shape[-1])
            setattr(self, name, tensor.gather(-2, index))

    def get_seq_length(self) -> int:
        """Return the number of tokens that were read: the position of the next one."""
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return number and offset of the keys of the next call: all kept keys are visible."""
        return min(self.seen + query_length, self.cut.budget), 0


class RoundedLayer(DynamicLayer):  # type: ignore[misc]
    """Cache layer that rounds full groups of tokens to integers.

    `keys` and `values` hold the tokens of the group that is not full.
    """

    def __init__(self, cut: CacheCut) -> None:
        super().__init__()
        self.cut = cut
        self.key_groups: list[RoundedGroup] = []
        self.value_groups: list[RoundedGroup] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append one token, and return all keys and values as they are stored."""
        if key_states.shape[-2] != 1:
            raise InputError("a cut cache reads one token at a time")
        keys, values = super().update(key_states, value_states)
        cut = self.cut
        if keys.shape[-2] == cut.group:
            self.key_groups.append(RoundedGroup.of(keys, cut.bits, cut.key_axis))
            self.value_groups.append(RoundedGroup.of(values, cut.bits, cut.value_axis))
            keys, values = keys[..., :0, :], values[..., :0, :]
            self.keys, self.values = keys, values
        return (
            torch.cat([*(one.vectors().to(keys) for one in self.key_groups), keys], -2),
            torch.cat([*(one.vectors().to(values) for one in self.value_groups), values], -2),
        )

    def get_seq_length(self) -> int:
        """Return the number of tokens that were read."""
        exact = 0 if self.keys is None else self.keys.shape[-2]
        return len(self.key_groups) * self.cut.group + exact

    @property
    def rounded_bytes(self) -> int:
        """Bytes of the groups that are stored as integers."""
        return sum(one.bytes for one in (*self.key_groups, *self.value_groups))


def cut_cache(model: Model, cut: CacheCut) -> Cache:
    """Return an empty cache whose layers with full attention follow a rule.

    Layers with a sliding window, or without attention, keep the library's cache.

    Raises:
        InputError: the model is no decoder, or has no layer with full attention.
    """
    if model.info.family != "decoder":
        raise InputError(
            f"{model.info.name} is an {model.info.family}; caches of decoders such as a GPT are cut"
        )
    cache = DynamicCache(config=model.network.config)
    kind = RoundedLayer if cut.method == "round" else EvictingLayer
    attends = model.info.layers.get("self", ())
    full = [place for place in attends if type(cache.layers[place]) is DynamicLayer]
    if not full:
        raise InputError(
            f"no layer of {model.info.name} keeps all tokens (they have windows), so there is "
            "nothing to cut"
        )
    for place in full:
        cache.layers[place] = kind(cut)
    return cache


@dataclass
class ReceivedWeights:
    """Listener that adds the weights of each call to the cache layers that count them.

    Args:
        places: kind and layer of each call; for one forward pass.
        model: whose calls they are.
        cache: from `cut_cache`.
    """

    places: Places
    model: Model
    cache: Cache

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Return an observer for layers that drop the keys of little weight.

        Raises:
            InputError: the scores have a bias by distance, which counts the keys of the cache.
        """
        if call.bias is not None:
            raise InputError(
                f"{self.model.info.name} adds a bias by distance to its scores, and computes it "
                "from the number of cached keys; caches of such models are not cut"
            )
        place = self.places.of(call)
        if place is None:
            return None
        layer = self.cache.layers[self.model.info.layers[place[0]][place[1]]]
        if not isinstance(layer, EvictingLayer) or layer.cut.method != "heavy":
            return None

        def observe(block: Block) -> None:
            weights = block.exponentials[:, :, 0] / block.sums.total  # (B, h, k)
            group = call.query.shape[1] // call.key.shape[1]
            for place, head in enumerate(range(*block.heads.indices(call.query.shape[1]))):
                received = layer.received[:, head // group, block.key_start : block.key_end]
                received += weights[:, place]

        return observe

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Do nothing: the weights are added."""

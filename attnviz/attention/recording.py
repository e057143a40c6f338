"""A recorder for what a model is about to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.attention.recorder import Call, Keep, Recorder
from attnviz.attention.rows import RowObserver
from attnviz.attention.sites import Sites
from attnviz.types import Kind

__all__ = ["SEEN", "InputRecorder"]

SEEN: tuple[Kind, ...] = ("self", "encoder", "image")
"""What a picture or a sound goes through."""

MASKS: Mapping[str, tuple[Kind, ...]] = {
    "attention_mask": ("self", "encoder", "text"),
    "decoder_attention_mask": ("decoder", "cross"),
}
"""Whose queries each argument says to be padding or not."""


@dataclass
class InputRecorder(Recorder):
    """A recorder that also knows positions which are no words, once it has seen how many."""

    @classmethod
    def of(
        cls,
        sites: Sites,
        inputs: Mapping[str, Tensor],
        keep: Keep,
        progress: Callable[[int], None] | None = None,
    ) -> InputRecorder:
        """For a pass over these arguments of the model."""
        real, by_blocks = _real_queries(inputs), frozenset(sites.by_blocks)
        return cls(sites.kinds, sites.names, _ids(sites, inputs), keep, real, progress, by_blocks)

    def begin(self, call: Call) -> RowObserver | None:
        """Number the positions of a picture or sound: none is a copy of another."""
        kind = self.kinds.get(id(call.module))
        if kind in SEEN and kind not in self.ids:
            batch, _, positions, _ = call.query.shape
            numbers = torch.arange(positions, device=call.query.device).expand(batch, -1)
            self.ids = {**self.ids, kind: numbers}
        return super().begin(call)


def _ids(sites: Sites, inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """The ids of each kind whose queries and keys are one text."""
    ids: dict[Kind, Tensor] = {}
    if "input_ids" in inputs:
        two_towers = len(sites.reads) > 1
        kinds: tuple[Kind, ...] = ("text",) if two_towers else ("self", "encoder")
        ids = dict.fromkeys(kinds, inputs["input_ids"])
    if "decoder_input_ids" in inputs:
        ids["decoder"] = inputs["decoder_input_ids"]
    return ids


def _real_queries(inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """Which queries of a batch are no padding; nothing for a side without padding."""
    return {
        kind: inputs[name].bool()
        for name, kinds in MASKS.items()
        if name in inputs and not bool(inputs[name].all())
        for kind in kinds
    }

"""Recorder of a forward pass, made from the arguments of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.attention.kernel.row_statistics import RowObserver
from attnviz.attention.recorder import Call, Keep, Recorder
from attnviz.attention.sites import Sites
from attnviz.types import Kind

__all__ = ["SEEN", "InputRecorder"]

SEEN: tuple[Kind, ...] = ("self", "encoder", "image")
"""Kinds of attention whose positions may be patches of a picture or moments of a sound."""

MASKS: Mapping[str, tuple[Kind, ...]] = {
    "attention_mask": ("self", "encoder", "text"),
    "decoder_attention_mask": ("decoder", "cross"),
}
"""Mask arguments of the model, and the kinds of attention whose queries each describes."""


@dataclass
class InputRecorder(Recorder):
    """Recorder of a pass over texts, pictures or sounds."""

    @classmethod
    def of(
        cls,
        sites: Sites,
        inputs: Mapping[str, Tensor],
        keep: Keep,
        progress: Callable[[int], None] | None = None,
    ) -> InputRecorder:
        """Return a recorder for a forward pass with these arguments."""
        real, by_blocks = _real_queries(inputs), frozenset(sites.by_blocks)
        return cls(sites.kinds, sites.names, _ids(sites, inputs), keep, real, progress, by_blocks)

    def begin(self, call: Call) -> RowObserver | None:
        """Return the observer of a call; positions of a picture or sound get distinct ids."""
        kind = self.kinds.get(id(call.module))
        if kind in SEEN and kind not in self.ids:
            batch, _, positions, _ = call.query.shape
            numbers = torch.arange(positions, device=call.query.device).expand(batch, -1)
            self.ids = {**self.ids, kind: numbers}
        return super().begin(call)


def _ids(sites: Sites, inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """Return the token ids of each kind whose queries and keys are the same text."""
    ids: dict[Kind, Tensor] = {}
    if "input_ids" in inputs:
        two_towers = len(sites.reads) > 1
        kinds: tuple[Kind, ...] = ("text",) if two_towers else ("self", "encoder")
        ids = dict.fromkeys(kinds, inputs["input_ids"])
    if "decoder_input_ids" in inputs:
        ids["decoder"] = inputs["decoder_input_ids"]
    return ids


def _real_queries(inputs: Mapping[str, Tensor]) -> dict[Kind, Tensor]:
    """Return the mask of real queries per kind; kinds without padding are left out."""
    return {
        kind: inputs[name].bool()
        for name, kinds in MASKS.items()
        if name in inputs and not bool(inputs[name].all())
        for kind in kinds
    }

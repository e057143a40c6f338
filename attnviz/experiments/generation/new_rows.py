"""Attention rows of the last query of a forward pass, in every head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Places
from attnviz.attention.kernel.blocks import Block
from attnviz.attention.recorder import Call
from attnviz.types import Kind

__all__ = ["NewRows"]


@dataclass
class NewRows:
    """Listener that keeps the weights of the last query of each call.

    Args:
        places: kind and layer of each call; for one forward pass.
    """

    places: Places
    _rows: dict[tuple[Kind, int], Float[Tensor, "head key"]] = field(default_factory=dict)

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Return an observer of the blocks that hold the last query."""
        place = self.places.of(call)
        if place is None:
            return None
        heads, queries = call.query.shape[1:3]
        row = call.query.new_zeros(heads, call.key.shape[2], dtype=torch.float32)
        self._rows[place] = row

        def observe(block: Block) -> None:
            if block.end == queries:
                weights = block.exponentials[0, :, -1] / block.sums.total[0, :, -1:]
                row[block.heads, block.key_start : block.key_end] = weights

        return observe

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Do nothing: the row is complete."""

    def rows(self, keys: Mapping[Kind, int]) -> dict[Kind, Float[np.ndarray, "layer head key"]]:
        """Return the rows of each kind, over all keys of the text.

        A layer with a sliding window keeps the last keys only: those before them have weight 0.

        Args:
            keys: number of keys of each kind; other kinds are left out.
        """
        by_kind: dict[Kind, Float[np.ndarray, "layer head key"]] = {}
        for kind, count in keys.items():
            layers = [row for (of, _), row in sorted(self._rows.items()) if of == kind]
            if layers:
                padded = [torch.nn.functional.pad(row, (count - row.shape[1], 0)) for row in layers]
                by_kind[kind] = torch.stack(padded).cpu().numpy()
        return by_kind

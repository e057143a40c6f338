"""One layer's attention over one text: what is kept of it, without its batch's padding."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from attnviz.attention.bias import PositionBias
from attnviz.attention.blocks import Normalizer
from attnviz.attention.recorder import LayerRecord
from attnviz.attention.rows import RowStatistics, alone
from attnviz.attention.visibility import Visibility

__all__ = ["Layer"]


@dataclass(frozen=True)
class Layer:
    """One layer's attention over one text, without padding. See `LayerRecord`."""

    module_name: str
    query: Float[Tensor, "head query dim"] | None
    key: Float[Tensor, "key_head key dim"] | None
    value: Float[Tensor, "key_head key value_dim"] | None
    normalizer: Normalizer | None
    visibility: Visibility
    scaling: float
    softcap: float | None
    bias: PositionBias | None
    sinks: Float[Tensor, " head"] | None
    rows: RowStatistics

    @classmethod
    def of(cls, record: LayerRecord, text: int, queries: int, keys: int) -> Layer:
        """Text number `text` of a recorded batch, cut to its own length; where the model runs."""

        def own(tensor: Tensor | None, length: int) -> Tensor | None:
            return None if tensor is None else alone(tensor[text, :, :length])

        bias = None
        if record.bias:
            bias = record.bias[text if len(record.bias) > 1 else 0].first(queries, keys)
        normalizer = None
        if record.normalizer is not None:
            normalizer = record.normalizer.map(lambda rows: alone(rows[text, :, :queries]))
        return cls(
            record.module_name,
            own(record.query, queries),
            own(record.key, keys),
            own(record.value, keys),
            normalizer,
            record.visibility.of_text(text, queries, keys),
            record.scaling,
            record.softcap,
            bias,
            record.sinks,
            record.rows.of_text(text, queries, keys),
        )

    def on_host(self) -> Layer:
        """The same record in the host's memory."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.cpu()

        return dataclasses.replace(
            self,
            query=moved(self.query),
            key=moved(self.key),
            value=moved(self.value),
            normalizer=None if self.normalizer is None else self.normalizer.map(Tensor.cpu),
            bias=None if self.bias is None else self.bias.cpu(),
            sinks=moved(self.sinks),
            rows=self.rows.on_host(),
        )

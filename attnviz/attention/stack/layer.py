"""Attention of one layer over one text, without the padding of its batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.kernel.blocks import Normalizer
from attnviz.attention.kernel.row_statistics import RowStatistics, alone
from attnviz.attention.masks.position_bias import PositionBias
from attnviz.attention.masks.visibility import Visibility
from attnviz.attention.recorder import LayerRecord

__all__ = ["Layer", "Vectors"]


@dataclass(frozen=True)
class Vectors:
    """Vectors of one layer, from which every score and weight can be computed.

    Attributes:
        query: after position rotation.
        key: of as many heads as the model has key heads.
        value: of as many heads as `key`.
        normalizer: turns a score into a weight.
        bias: added to the scores; None without one.
    """

    query: Float[Tensor, "head query dim"]
    key: Float[Tensor, "key_head key dim"]
    value: Float[Tensor, "key_head key value_dim"]
    normalizer: Normalizer
    bias: PositionBias | None

    def on_host(self) -> Vectors:
        """Copy the vectors to the CPU."""
        return Vectors(
            self.query.cpu(),
            self.key.cpu(),
            self.value.cpu(),
            self.normalizer.map(Tensor.cpu),
            None if self.bias is None else self.bias.cpu(),
        )


@dataclass(frozen=True)
class Layer:
    """Attention of one layer over one text, without padding.

    Attributes:
        module_name: name of the attention module in the model.
        visibility: visible keys of each query.
        scaling: factor of the dot product.
        softcap: bound of the scaled dot product; None without one.
        sinks: one learned score per head in the softmax denominator; None without sinks.
        rows: statistics of each row of weights.
        vectors: None if the capture keeps statistics only.
        finite_values: mask of the keys whose value vectors hold neither NaN nor infinity.
    """

    module_name: str
    visibility: Visibility
    scaling: float
    softcap: float | None
    sinks: Float[Tensor, " head"] | None
    rows: RowStatistics
    vectors: Vectors | None
    finite_values: Bool[Tensor, "key_head key"]

    @classmethod
    def of(cls, record: LayerRecord, text: int, queries: int, keys: int) -> Layer:
        """Copy text number `text` of a recorded batch, cut to its length, on the model's device."""
        return cls(
            record.module_name,
            record.visibility.of_text(text, queries, keys),
            record.scaling,
            record.softcap,
            record.sinks,
            record.rows.of_text(text, queries, keys),
            _vectors(record, text, queries, keys),
            alone(record.finite_values[text, :, :keys]),
        )

    def on_host(self) -> Layer:
        """Copy the layer to the CPU."""
        return replace(
            self,
            sinks=None if self.sinks is None else self.sinks.cpu(),
            rows=self.rows.on_host(),
            vectors=None if self.vectors is None else self.vectors.on_host(),
            finite_values=self.finite_values.cpu(),
        )


def _vectors(record: LayerRecord, text: int, queries: int, keys: int) -> Vectors | None:
    """Copy the vectors of one text of a batch; None if the record has statistics only."""
    batch = record.vectors
    if batch is None:
        return None
    bias = None
    if batch.bias:
        bias = batch.bias[text if len(batch.bias) > 1 else 0].first(queries, keys)
    return Vectors(
        alone(batch.query[text, :, :queries]),
        alone(batch.key[text, :, :keys]),
        alone(batch.value[text, :, :keys]),
        batch.normalizer.map(lambda numbers: alone(numbers[text, :, :queries])),
        bias,
    )

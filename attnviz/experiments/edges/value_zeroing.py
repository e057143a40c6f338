"""Value zeroing: how far a query's vector turns when a key's value is zero in one head.

    1 - cos(x_i without the value of j, x_i)

with x_i the residual stream behind the head's block. Source: Mohebbi et al. 2023, "Quantifying
Context Mixing in Transformers"; there the value is zero in all heads of a layer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.call_changes import changing
from attnviz.experiments.edges.one_head import OneHead, copies_at_once, weights_of
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import block_of, repeated, streams_recorded
from attnviz.models import Encoded, Model, model_inputs
from attnviz.types import Head

__all__ = ["value_zeroing"]


def value_zeroing(
    model: Model,
    encoded: Encoded,
    head: Head,
    *,
    progress: Callable[[float], None] | None = None,
) -> Float[np.ndarray, "query key"]:
    """Return the cosine distance of every edge of a head, 0 to 2.

    `progress` is a callback for the finished share. It may raise to cancel.

    Raises:
        InputError: as `weights_of`.
    """
    weights = weights_of(model, encoded, head)
    hooked = HookedModel.of(model)
    block = block_of(hooked.names[head.kind][head.layer])
    inputs = model_inputs(model, [encoded])
    whole = _streams(hooked, block, inputs, head, [], weights)[0]
    keys = list(range(weights.shape[1]))
    columns, room = [], copies_at_once(encoded)
    for start in range(0, len(keys), room):
        group = keys[start : start + room]
        streams = _streams(hooked, block, inputs, head, group, weights)
        columns.append(1 - torch.cosine_similarity(streams, whole[None], dim=-1))
        if progress is not None:
            progress((start + len(group)) / len(keys))
    distances: np.ndarray = torch.cat(columns).T.cpu().numpy()
    return distances


def _streams(
    hooked: HookedModel,
    block: str,
    inputs: dict[str, Tensor],
    head: Head,
    keys: list[int],
    weights: Float[Tensor, "query key"],
) -> Float[Tensor, "copy query width"]:
    """Return the streams behind a block; copy c has no value at key number c."""

    def change(output: Tensor, values: Tensor) -> Tensor:
        changed = output.clone()
        for copy, key in enumerate(keys):
            changed[copy] -= weights[:, key, None] * values[copy, key]
        return changed

    copied = {name: repeated(one, max(len(keys), 1)) for name, one in inputs.items()}
    with (
        torch.inference_mode(),
        streams_recorded(hooked, [block]) as streams,
        changing(OneHead(hooked.places(), head, change)),
    ):
        hooked.run(copied)
    return streams[block].double()

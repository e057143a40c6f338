"""Effect of patching the residual stream at one layer and position.

What a block gives at one position of the clean run takes the place of what it gives there in the
corrupted run. This shows where, on its way through the layers, the information that separates two
texts is: first at the words that differ, in the end at the position that predicts. Source: Meng et
al. 2022 (causal tracing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import (
    prediction_blocks,
    repeated,
    stack_blocks,
    stream_of,
    streams_recorded,
    with_stream,
)
from attnviz.experiments.patching.head_patches import MOST_COPIES, SMALLEST
from attnviz.experiments.patching.text_alignment import Partners
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
from attnviz.models import Model, model_inputs

__all__ = ["StreamEffects", "patch_stream"]


@dataclass(frozen=True)
class StreamEffects:
    """Logit differences with the residual stream patched at one layer and position at a time.

    Attributes:
        clean: logit difference of the clean run.
        corrupted: logit difference of the corrupted run.
        patched: the logit difference with the stream behind a block patched at one position of the
            clean text; NaN where this position has no partner in the corrupted text.
        whole: the same with the stream patched at all positions that have a partner. If all have
            one it is that of the clean run; not of a decoder, whose cross-attention in the layers
            above reads the corrupted text.
    """

    clean: float
    corrupted: float
    patched: Float[np.ndarray, "layer position"]
    whole: Float[np.ndarray, " layer"]

    def share(self) -> Float[np.ndarray, "layer position"]:
        """Return the effects as shares: 0 is the corrupted run, 1 the clean one; NaN without any.

        NaN where the two runs have the same logit difference: nothing separates them.
        """
        apart = self.clean - self.corrupted
        if not abs(apart) > SMALLEST:
            return np.full_like(self.patched, np.nan)
        return (self.patched - self.corrupted) / apart


def patch_stream(
    model: Model,
    pair: TextPair,
    difference: LogitDifference,
    *,
    side: Literal["decoder", "encoder"] = "decoder",
    progress: Callable[[float], None] | None = None,
) -> StreamEffects:
    """Patch the residual stream behind each block at each position, one at a time.

    What the clean run gives at a position goes to its partner in the corrupted run. Arguments as
    for `patch_heads`, and `side`: which stream of an encoder-decoder is patched; others have one.

    Raises:
        InputError: see `TextPair.check`; no list of blocks; an unknown token or position.
    """
    pair.check(model)
    hooked = HookedModel.of(model)
    encoder = side == "encoder" and model.info.family == "encoder-decoder"
    blocks = stack_blocks(hooked, "encoder") if encoder else prediction_blocks(hooked)[1]
    clean_inputs, inputs = (model_inputs(model, [one]) for one in (pair.clean, pair.corrupted))
    with torch.inference_mode():
        with streams_recorded(hooked, blocks) as streams:
            clean = hooked.run(clean_inputs).logits
        corrupted = hooked.run(inputs).logits
    there = pair.in_corrupted(difference)
    partners = pair.texts() if encoder else pair.predicted()
    places: list[Sequence[Partners]] = [[one] for one in partners.pairs]
    places.append(partners.pairs)
    patched = np.full((len(blocks), partners.counts[0] + 1), np.nan)  # the last: all positions
    columns = [*partners.clean, -1]
    for layer, name in enumerate(blocks):
        for start in range(0, len(places), MOST_COPIES):
            group = places[start : start + MOST_COPIES]
            logits = _patched(hooked, inputs, name, streams[name], group)
            patched[layer, columns[start : start + len(group)]] = there.of(logits).cpu().numpy()
        if progress is not None:
            progress((layer + 1) / len(blocks))
    return StreamEffects(
        float(difference.of(clean)[0]),
        float(there.of(corrupted)[0]),
        patched[:, :-1],
        patched[:, -1],
    )


def _patched(
    hooked: HookedModel,
    inputs: dict[str, Tensor],
    name: str,
    clean: Float[Tensor, "1 position width"],
    places: Sequence[Sequence[Partners]],
) -> Float[Tensor, "copy position word"]:
    """Return the logits of runs whose stream behind a block is clean at some positions."""

    def hook(module: Any, arguments: Any, output: Any) -> Any:
        changed = stream_of(output).clone()
        for copy, pairs in enumerate(places):
            for one, other in pairs:
                changed[copy, other] = clean[0, one]
        return with_stream(output, changed)

    handle = hooked.network.get_submodule(name).register_forward_hook(hook)
    try:
        with torch.inference_mode():
            copied = {name: repeated(one, len(places)) for name, one in inputs.items()}
            logits: Tensor = hooked.run(copied).logits
    finally:
        handle.remove()
    return logits

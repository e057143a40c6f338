"""Logit lens: what the model would predict from the residual stream behind each block.

The stream behind a block takes the place of the stream behind the last block; the model's last norm
and its vocabulary then make a prediction of it. Source: nostalgebraist 2020, "interpreting GPT: the
logit lens". A lower layer's stream was not made to be read in this way, so a wrong prediction there
does not mean that the information is missing (Belrose et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import (
    prediction_run,
    streams_recorded,
    with_stream,
)
from attnviz.models import Encoded, Model

__all__ = ["LogitLens", "logit_lens"]


@dataclass(frozen=True)
class LogitLens:
    """Predictions from the stream before the first block, and behind each block.

    The first row is the stream before the first block; the last is the model's prediction.

    Attributes:
        best: id of the likeliest token.
        probability: its probability.
        final_rank: rank of the token that the model predicts in the end; 0 is the likeliest.
        final_probability: probability of that token.
    """

    best: Int[np.ndarray, "row position"]
    probability: Float[np.ndarray, "row position"]
    final_rank: Int[np.ndarray, "row position"]
    final_probability: Float[np.ndarray, "row position"]


def logit_lens(model: Model, encoded: Encoded) -> LogitLens:
    """Return what each layer would predict at each position.

    >>> import attnviz
    >>> from attnviz.experiments.decomposition.logit_lens import logit_lens
    >>> from attnviz.models import encode
    >>> model = attnviz.load("gpt-classroom")
    >>> lens = logit_lens(model, encode(model, "one two three four one two three"))
    >>> lens.best.shape  # 4 layers and the embedding; the begin token and 7 words
    (5, 8)

    Args:
        model: from `attnviz.load`, with a trained language head.
        encoded: a text, with a target for an encoder-decoder, whose decoder is shown.

    Raises:
        InputError: the model predicts no tokens, or has no list of blocks.
    """
    hooked, blocks, inputs = prediction_run(model, encoded)
    with torch.inference_mode(), streams_recorded(hooked, blocks) as streams:
        logits = hooked.run(inputs).logits
    if logits.dim() != 3:
        raise InputError(f"{model.info.name} predicts no token at any position")
    final = logits[0].argmax(-1)
    rows = [_row(_read(hooked, inputs, blocks[-1], streams[name]), final)
            for name in ("", *blocks[:-1])]  # fmt: skip
    rows.append(_row(logits[0], final))
    best, probability, rank, chance = (np.stack(part) for part in zip(*rows, strict=True))
    return LogitLens(best, probability, rank, chance)


def _read(
    hooked: HookedModel,
    inputs: dict[str, Tensor],
    last: str,
    stream: Float[Tensor, "1 position width"],
) -> Float[Tensor, "position word"]:
    """Return the logits of a run whose last block gives a certain stream."""

    def hook(module: object, arguments: object, output: object) -> object:
        return with_stream(output, stream)

    handle = hooked.network.get_submodule(last).register_forward_hook(hook)
    try:
        with torch.inference_mode():
            logits: Tensor = hooked.run(inputs).logits
    finally:
        handle.remove()
    return logits[0]


def _row(
    logits: Float[Tensor, "position word"], final: Int[Tensor, " position"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return best token, its probability, and rank and probability of the final token."""
    shares = logits.float().softmax(-1)
    top = shares.max(-1)
    chance = shares.gather(-1, final[:, None])
    place = logits.gather(-1, final[:, None])
    rank = (logits > place).sum(-1)
    columns = (top.indices, top.values, rank, chance[:, 0])
    return tuple(one.cpu().numpy() for one in columns)  # type: ignore[return-value]

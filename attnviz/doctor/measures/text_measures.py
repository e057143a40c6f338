"""Measures of every head on single texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz import metrics
from attnviz.attention import AttentionStack, following
from attnviz.captures.forward_pass import capture_ids
from attnviz.captures.output_share import AddedLengths, residual_norms
from attnviz.experiments.loss_examples import batches
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Encoded, Model, side_config
from attnviz.types import Kind

__all__ = [
    "Projections",
    "Tables",
    "batch_tokens",
    "lowest_entropy",
    "read_texts",
    "resting_places",
    "separators",
    "sink_measures",
    "value_norms",
]

Projections = Mapping[Kind, Sequence["Float[Tensor, 'head value_dim out'] | None"]]
Tables = dict[Kind, dict[str, Float[np.ndarray, "layer head text"]]]

KEPT_NUMBERS = 64 * 1024**2  # of queries, keys and values at a time, all layers together
FEWEST_TOKENS = 256
LOW_SHARE = 0.1
MOST_OF_A_ROW = 0.5


def read_texts(
    model: Model,
    texts: Sequence[Encoded],
    projections: Projections,
    tick: Callable[[float], None],
) -> Tables:
    """Return the metrics of the registry and the measures of ordinary texts, per head and text.

    Args:
        model: from `attnviz.load`.
        texts: what it reads.
        projections: each head's slice of its layer's output projection.
        tick: callback for the finished share.
    """
    tables: Tables = {}
    done = 0
    for chosen in batches(texts, batch_tokens(model)):
        part = [texts[index] for index in chosen]
        added = AddedLengths(model)
        with following(added.additions):
            captures = capture_ids(model, part, keep="qkv", predict=False)
        stream = residual_norms(model, part)
        for row, (index, capture) in enumerate(zip(chosen, captures, strict=True)):
            for kind, stack in capture.stacks.items():
                numbers = {name: metrics.per_head(name, stack) for name in metrics.names()}
                numbers["lowest_entropy"] = lowest_entropy(stack)
                numbers |= sink_measures(stack, projections[kind])
                numbers["separators"] = separators(stack)
                numbers["output_share"] = added.share(kind, row, stack.shape, stream.get(kind))
                broken = added.not_finite(kind, row, stack)
                numbers = {name: np.where(broken, np.nan, table) for name, table in numbers.items()}
                numbers["not_finite"] = broken.astype(np.float32)
                for name, table in numbers.items():
                    room = tables.setdefault(kind, {})
                    if name not in room:
                        room[name] = np.full((*table.shape, len(texts)), np.nan, np.float32)
                    room[name][..., index] = table
        done += len(chosen)
        tick(done / len(texts))
    return tables


def batch_tokens(model: Model) -> int:
    """Return the number of tokens to capture at a time, with queries, keys and values."""
    width = int(getattr(side_config(model.network.config), "hidden_size", 1024))
    layers = sum(size[0] for size in model.info.heads.values())
    return max(KEPT_NUMBERS // (3 * width * layers), FEWEST_TOKENS)


def lowest_entropy(stack: AttentionStack) -> Float[np.ndarray, "layer head"]:
    """Return the 10% quantile over rows of the normalized entropy, 0 to 1; nine in ten have more.

    Near 1 it says that nearly all rows are uniform. Unlike the share of rows beyond a fixed limit,
    it can be held against any limit later. Rows that see one key have no choice to make and are
    left out; NaN where no row has one.
    """
    rows = metrics.per_row("normalized_entropy", stack)
    quantiles = np.full(rows.shape[:2], np.nan, np.float32)
    for layer, choice in enumerate(stack.visible > 1):
        if choice.any():
            quantiles[layer] = np.quantile(rows[layer][:, choice], LOW_SHARE, axis=-1)
    return quantiles


def resting_places(stack: AttentionStack) -> Int[np.ndarray, " key"]:
    """Return the resting places: the first key and the special tokens behind it ([SEP], </s>)."""
    special = stack.key_tokens.special.copy()
    special[0] = True
    places: np.ndarray = np.nonzero(special)[0]
    return places


def sink_measures(
    stack: AttentionStack, projections: Sequence[Tensor | None]
) -> dict[str, Float[np.ndarray, "layer head"]]:
    """Return `rest`, `rows_elsewhere` and `sink_value_share` of every head.

    With R the resting places (`resting_places`), over the rows that see more than one key:

    `rest`: the mean of sum_{k in R} A_ik. For a causal text this is alpha_0 of Gu et al. 2024
    without the first row, which cannot look anywhere else and would make a third of a short text.

    `rows_elsewhere`: the share of rows that give R less than half of their weight.

    `sink_value_share`: sum_{k in R} m_k |v_k W_O| / sum_j m_j |v_j W_O|, where m_j is the sum of
    the weights on key j over all rows: the part that the resting places have in what the head
    moves, rather than in where it looks. Source: Kobayashi et al. 2020. It adds up lengths of
    vectors, which may point in different directions and cancel: a large share does not prove a
    large effect. NaN without an output projection.
    """
    places = resting_places(stack)
    rows = _weight_on(stack, places)
    rows[np.broadcast_to((stack.visible < 2)[:, None, :], rows.shape)] = np.nan
    elsewhere = np.where(np.isnan(rows), np.nan, (rows < MOST_OF_A_ROW).astype(np.float32))
    mass = stack.statistic("key_mass").astype(np.float64)
    share = np.full(rows.shape[:2], np.nan, np.float32)
    for layer, projection in enumerate(projections):
        vectors = stack.layers[layer].vectors
        if projection is None or vectors is None:
            continue
        norms = value_norms(vectors.value, projection).cpu().numpy()
        moved = mass[layer] * np.where(np.isfinite(norms), norms, np.nan)
        total = moved.sum(-1)
        share[layer] = moved[:, places].sum(-1) / np.where(total > 0, total, np.nan)
    return {
        "rest": mean_over_rows(rows),
        "rows_elsewhere": mean_over_rows(elsewhere),
        "sink_value_share": share,
    }


def _weight_on(
    stack: AttentionStack, places: Int[np.ndarray, " key"]
) -> Float[np.ndarray, "layer head query"]:
    """Return the weight of every row on some keys together; invisible keys count as 0."""
    rows: np.ndarray = np.nan_to_num(stack.statistic("first"), nan=0.0)
    for key in places[1:]:
        column = slice(int(key), int(key) + 1)
        for layer, head in np.ndindex(*rows.shape[:2]):
            rows[layer, head] += stack.weights(layer, head, keys=column)[:, 0]
    return rows


def value_norms(
    values: Float[Tensor, "key_head key value_dim"],
    projection: Float[Tensor, "head value_dim out"],
) -> Float[Tensor, "head key"]:
    """Return |v_j W_O| for every head; heads of one group share their values."""
    heads = projection.shape[0]
    each = values.float().repeat_interleave(heads // values.shape[0], dim=0)
    # |v W|^2 = v (W W') v': the vectors themselves, as wide as the model, are never made.
    squares = torch.einsum("hkv,hvw,hkw->hk", each, _gram(projection), each)
    return squares.clamp_min(0.0).sqrt()


def _gram(projection: Float[Tensor, "head value_dim out"]) -> Tensor:
    wide = projection.float()
    return wide @ wide.transpose(1, 2)


def separators(stack: AttentionStack) -> Float[np.ndarray, "layer head"]:
    """Return the mean weight on special tokens behind the first key: [SEP], </s>; NaN without any.

    Source: Clark et al. 2019, who find heads with more than 0.6 on [SEP].
    """
    chosen = stack.key_tokens.special.copy()
    chosen[0] = False
    layers, heads, queries, _ = stack.shape
    if not chosen.any():
        return np.full((layers, heads), np.nan, np.float32)
    weight: np.ndarray = stack.statistic("key_mass")[..., chosen].sum(-1) / queries
    return weight

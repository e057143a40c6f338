"""Fewer keys and values than queries: multi-query, grouped-query and latent attention.

Multi-query (Shazeer 2019): one head of keys and values for all query heads. Grouped-query
(Ainslie et al. 2023): one per group. Latent (MLA, DeepSeek-V2 2024): keys and values of all heads
from one vector of `rank` numbers per token.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs, masked_attention
from attnviz.errors import InputError

__all__ = ["grouped_query", "latent", "multi_query"]


def multi_query(inputs: Inputs) -> EfficientResult:
    """Share one head of keys and values among all query heads: `grouped_query` with one group."""
    return grouped_query(inputs, groups=1)


def grouped_query(inputs: Inputs, *, groups: int = 2) -> EfficientResult:
    """Share keys and values within groups of query heads.

    With as many key heads as groups, this is the model's own attention and exact. With one key head
    per query head, the heads of a group are averaged, as when a trained model is converted: an
    approximation of its attention.

    Args:
        inputs: [head, position, d]; without a head axis there is one head, and nothing to share.
        groups: number of key heads.

    Raises:
        InputError: heads that cannot be divided into the groups.
    """
    single = inputs.query.dim() == 2
    query, key, value = (
        one[None] if single else one for one in (inputs.query, inputs.key, inputs.value)
    )
    heads, key_heads = query.shape[0], key.shape[0]
    groups = min(groups, key_heads)
    if groups < 1 or heads % groups or key_heads % groups:
        raise InputError(
            f"{heads} query heads and {key_heads} key heads cannot be divided into {groups} groups"
        )
    shared = [one.reshape(groups, -1, *one.shape[1:]).mean(1) for one in (key, value)]
    repeated = [one.repeat_interleave(heads // groups, 0) for one in shared]  # (head, key, d)
    result = masked_attention(
        replace(inputs, query=query, key=repeated[0], value=repeated[1]),
        inputs.visible(),
        exact=key_heads == groups,
        details={
            "cache_numbers": shared[0].numel() + shared[1].numel(),
            "cache_ratio": groups / heads,
        },
    )
    if not single:
        return result
    return replace(result, output=result.output[0], weights=result.weights[0])


def latent(inputs: Inputs, *, rank: int = 32) -> EfficientResult:
    """Keep `rank` numbers per token instead of all keys and values.

    The best such numbers for given keys and values are their truncated singular vectors:
    [K V] ≈ C [U_K U_V], C of shape [key, rank]. Scores are taken in the latent space,
    (q U_Kᵀ) · c ("absorbed"), which equals q · (c U_K) ("expanded").

    Args:
        inputs: [head, position, d] or [position, d].
        rank: numbers per token; exact from the rank of [K V] on.

    Raises:
        InputError: a rank below one.
    """
    if rank < 1:
        raise InputError(f"the latent vectors need at least one number, not {rank}")
    single = inputs.query.dim() == 2
    query, key, value = (
        one[None] if single else one for one in (inputs.query, inputs.key, inputs.value)
    )
    heads, keys, d = key.shape
    if query.shape[0] != heads:
        raise InputError(
            f"latent attention needs a key head per query head, not {heads} for {query.shape[0]}"
        )
    joined = torch.cat([_by_token(key), _by_token(value)], 1)  # (key, head * (d + d_value))
    left, singular, right = torch.linalg.svd(joined, full_matrices=False)
    kept = min(rank, len(singular))
    compressed = left[:, :kept] * singular[:kept]  # (key, rank)
    up_key = right[:kept, : heads * d].reshape(kept, heads, d)
    up_value = right[:kept, heads * d :].reshape(kept, heads, -1)
    absorbed = torch.einsum("hqd,rhd->hqr", query, up_key)  # (head, query, rank)
    latent_keys = compressed.expand(heads, keys, kept)
    weighted = masked_attention(
        replace(inputs, query=absorbed, key=latent_keys, value=latent_keys),
        inputs.visible(),
        exact=bool(singular[kept:].sum() <= 1e-12 * singular.sum()),
    )
    output = torch.einsum("hqr,rhd->hqd", weighted.output, up_value)
    expanded = torch.einsum("kr,rhd->hkd", compressed, up_key)
    difference = (query @ expanded.mT - absorbed @ latent_keys.mT).abs().max()
    result = replace(
        weighted,
        output=output,
        details={
            "cache_numbers": compressed.numel(),
            "cache_ratio": kept / joined.shape[1],
            "absorbed_minus_expanded": float(difference),
        },
    )
    if not single:
        return result
    return replace(result, output=result.output[0], weights=result.weights[0])


def _by_token(heads: Tensor) -> Tensor:
    """Return [head, key, d] as [key, head * d]."""
    return heads.transpose(0, 1).reshape(heads.shape[1], -1)

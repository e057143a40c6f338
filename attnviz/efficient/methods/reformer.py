"""Reformer (Kitaev et al. 2020): only vectors with the same hash see each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from attnviz.efficient.methods.result import EfficientResult, Inputs, masked_attention
from attnviz.errors import InputError

__all__ = ["buckets_of", "reformer", "shared_mask"]


def buckets_of(
    vectors: Tensor, buckets: int, hashes: int, seed: int
) -> Int[Tensor, "hash position"]:
    """Return the bucket of every vector: the nearest of random directions and their opposites.

    h(x) = argmax([x R; -x R]) (Andoni et al. 2015), R of shape [d, buckets / 2].
    """
    if buckets < 1 or hashes < 1 or (buckets > 1 and buckets % 2):
        raise InputError(
            f"one or an even number of buckets is needed, and a hash, not {buckets} and {hashes}"
        )
    if buckets == 1:
        return torch.zeros(hashes, len(vectors), dtype=torch.long, device=vectors.device)
    generator = torch.Generator().manual_seed(seed)
    shape = (hashes, vectors.shape[-1], buckets // 2)
    directions = torch.randn(shape, generator=generator, dtype=torch.float64).to(vectors)
    turned = torch.einsum("nd,hdb->hnb", vectors, directions)
    return torch.cat([turned, -turned], -1).argmax(-1)


def shared_mask(buckets: Int[Tensor, "hash position"], causal: bool) -> Bool[Tensor, "query key"]:
    """Return the pairs that share a bucket in any hash; a token sees itself if nothing else."""
    count = buckets.shape[1]
    same = (buckets[:, :, None] == buckets[:, None, :]).any(0)
    if causal:
        same &= torch.ones(count, count, dtype=torch.bool, device=same.device).tril()
    itself = torch.eye(count, dtype=torch.bool, device=same.device)
    others = same & ~itself
    return others | (itself & ~others.any(-1, keepdim=True))


def reformer(
    inputs: Inputs, *, buckets: int = 8, hashes: int = 1, seed: int = 0
) -> EfficientResult:
    """Compute attention within buckets of a locality-sensitive hash.

    Reformer shares queries and keys: the keys are the queries, each divided by its length. Given
    keys are not used. With one bucket this is shared attention without the token itself.

    Args:
        inputs: queries and values of equal length.
        buckets: number of buckets, one or even.
        hashes: rounds of hashing; a pair is computed if it shares a bucket in one of them.
        seed: of the random directions.

    Raises:
        InputError: an odd number of buckets, or another number of keys than queries.
    """
    if inputs.queries != inputs.keys:
        raise InputError(
            f"Reformer is self-attention; there are {inputs.queries} queries and {inputs.keys} keys"
        )
    key = functional.normalize(inputs.query, dim=-1)
    bucket_of = buckets_of(inputs.query, buckets, hashes, seed)
    shared = Inputs(inputs.query, key, inputs.value, inputs.causal, inputs.scale, inputs.arrays)
    result = masked_attention(shared, shared_mask(bucket_of, inputs.causal), exact=False)
    sizes = torch.stack([torch.bincount(one, minlength=buckets) for one in bucket_of])
    return EfficientResult(
        output=result.output,
        weights=result.weights,
        computed=result.computed,
        exact=False,
        operations=result.operations
        + hashes * inputs.keys * -(-buckets // 2) * inputs.query.shape[-1],
        numbers_held=result.numbers_held,
        details={"buckets": bucket_of, "bucket_sizes": sizes},
    )

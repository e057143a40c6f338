"""Ring attention (Liu et al. 2023): blocks of keys and values travel around a ring of devices.

Every device keeps its block of queries. In each round it merges one block of keys and values into
its running state and passes that block on, so that no device ever holds the whole sequence.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from attnviz.efficient.methods.flash import Running, merge
from attnviz.efficient.methods.result import EfficientResult, Inputs
from attnviz.errors import InputError

__all__ = ["ring"]


def ring(inputs: Inputs, *, devices: int = 4, start: int = 0) -> EfficientResult:
    """Compute exact attention on simulated devices in a ring.

    Args:
        inputs: queries, keys and values of equal length.
        devices: number of devices; some hold nothing when there are more devices than tokens.
        start: which round is first: the device that device 0 gets its first block from.

    Raises:
        InputError: no device.
    """
    if devices < 1:
        raise InputError(f"a ring needs at least one device, not {devices}")
    visible = inputs.visible()
    rows = _parts(inputs.queries, devices)
    parts = _parts(inputs.keys, devices)
    states = [Running.empty(inputs.query[one], inputs.value.shape[-1]) for one in rows]
    sent = skipped = pairs = 0
    number_bytes = inputs.key.element_size() * inputs.width
    for step in range(devices):
        for device, queries in enumerate(rows):
            keys = parts[(device + start - step) % devices]
            size = keys.stop - keys.start
            if step:  # the block came from the neighbour
                sent += size * number_bytes
            seen = visible[queries, keys]
            if not bool(seen.any()):
                skipped += 1
                continue
            scores = inputs.query[queries] @ inputs.key[keys].mT * inputs.scale
            pairs += scores.numel()
            scores = scores.masked_fill(~seen, -math.inf)
            states[device] = merge(states[device], Running.of(scores, inputs.value[keys]))
    log_sum_exp = torch.cat([one.log_sum_exp() for one in states])
    scores = (inputs.query @ inputs.key.mT * inputs.scale).masked_fill(~visible, -math.inf)
    most = max(one.stop - one.start for one in parts)
    return EfficientResult(
        output=torch.cat([one.finished() for one in states]),
        weights=torch.exp(scores - log_sum_exp[:, None]).masked_fill(~visible, math.nan),
        computed=visible,
        exact=True,
        operations=pairs * inputs.width,
        numbers_held=most * most + most * (inputs.value.shape[-1] + 2) + most * inputs.width,
        details={"log_sum_exp": log_sum_exp, "bytes_moved": sent, "skipped_blocks": skipped},
    )


def _parts(count: int, devices: int) -> list[slice]:
    """Divide positions among devices as evenly as possible."""
    edges = [count * device // devices for device in range(devices + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]

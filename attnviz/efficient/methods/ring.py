"""Ring attention (Liu et al. 2023): blocks of keys and values travel around a ring of devices.

Every device keeps its block of queries. In each round it merges one block of keys and values into
its running state and passes that block on, so that no device ever holds the whole sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from attnviz.efficient.methods.flash import Running, merge
from attnviz.efficient.methods.result import EfficientResult, Inputs
from attnviz.errors import InputError

__all__ = ["Visit", "ring", "ring_rounds"]


@dataclass(frozen=True)
class Visit:
    """Block of keys and values at a device in one round.

    Attributes:
        queries: positions of the device's queries.
        keys: positions of the block.
        block: number of the block: the device that begins with it.
        skipped: whether the mask hides the whole block from these queries.
        received: bytes that came from the neighbour for this round.
    """

    queries: slice
    keys: slice
    block: int
    skipped: bool
    received: int


def ring_rounds(inputs: Inputs, devices: int, start: int = 0) -> Iterator[list[Visit]]:
    """Yield the visits of each round, one per device."""
    visible = inputs.visible()
    rows, parts = _parts(inputs.queries, devices), _parts(inputs.keys, devices)
    number_bytes = inputs.key.element_size() * inputs.width
    for step in range(devices):
        visits = []
        for device, queries in enumerate(rows):
            block = (device + start - step) % devices
            keys = parts[block]
            received = (keys.stop - keys.start) * number_bytes if step else 0
            skipped = not bool(visible[queries, keys].any())
            visits.append(Visit(queries, keys, block, skipped, received))
        yield visits


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
    for visits in ring_rounds(inputs, devices, start):
        for device, visit in enumerate(visits):
            sent += visit.received
            if visit.skipped:
                skipped += 1
                continue
            queries, keys = visit.queries, visit.keys
            scores = inputs.query[queries] @ inputs.key[keys].mT * inputs.scale
            pairs += scores.numel()
            scores = scores.masked_fill(~visible[queries, keys], -math.inf)
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

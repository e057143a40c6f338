"""Measure the time of exact, fused, windowed and linear attention beside counted products.

    python -m benchmarks.efficient
    python -m benchmarks.efficient --longest 32768

Exact attention holds the matrix of scores and stops where it needs more than `--memory` GB. Fused
is torch's own `scaled_dot_product_attention`. The window gathers blocks of keys, so that only its
pairs are computed. Linear attention is the recurrence over chunks. Seconds are the median of three
runs of one head with 64 numbers per query, float32, causal; ways alternate within each run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from attnviz.efficient.costs import cost

D = 64
WINDOW = 128
CHUNK = 128
ROW = "{:>8} {:>8} {:>12} {:>10} {:>14} {:>16}"


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute causal attention with the whole matrix of scores."""
    scores = query @ key.mT / D**0.5
    hidden = torch.ones(len(query), len(key), dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill_(hidden, -torch.inf), -1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute causal attention in torch's fused function."""
    output = functional.scaled_dot_product_attention(
        query[None, None], key[None, None], value[None, None], is_causal=True
    )
    return output[0, 0]


def window(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute a causal window block by block: each block sees itself and the one before."""
    count = len(query)
    blocks = count // WINDOW
    queries = query[: blocks * WINDOW].view(blocks, WINDOW, D)
    before = torch.zeros(1, WINDOW, D)
    keys, values = (
        torch.cat(
            [torch.cat([before, one.view(blocks, WINDOW, D)[:-1]]), one.view(blocks, WINDOW, D)], 1
        )
        for one in (key[: blocks * WINDOW], value[: blocks * WINDOW])
    )
    row, column = torch.arange(WINDOW)[:, None] + WINDOW, torch.arange(2 * WINDOW)[None, :]
    near = (column <= row) & (row - column < WINDOW)
    seen = near.expand(blocks, -1, -1).clone()
    seen[0, :, :WINDOW] = False
    scores = (queries @ keys.mT / D**0.5).masked_fill_(~seen, -torch.inf)
    return (torch.softmax(scores, -1) @ values).view(-1, D)


def linear(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute causal linear attention chunk by chunk, with a state between chunks."""
    query, key = functional.elu(query) + 1, functional.elu(key) + 1
    state, total = torch.zeros(D, D), torch.zeros(D)
    past = torch.ones(CHUNK, CHUNK, dtype=torch.bool).tril()
    parts = []
    for start in range(0, len(query), CHUNK):
        q, k, v = (one[start : start + CHUNK] for one in (query, key, value))
        inside = (q @ k.mT).masked_fill_(~past[: len(q), : len(q)], 0)
        norm = inside.sum(-1) + q @ total
        parts.append((inside @ v + q @ state) / norm[:, None])
        state = state + k.mT @ v
        total = total + k.sum(0)
    return torch.cat(parts)


WAYS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], str, dict[str, int]]] = {
    "exact": (exact, "exact", {}),
    "fused": (fused, "flash", {"block": 128}),
    "window": (window, "window", {"window": WINDOW}),
    "linear": (linear, "linear", {}),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time beside counted multiplications.")
    parser.add_argument("--longest", type=int, default=16_384)
    parser.add_argument("--memory", type=float, default=4.0, help="GB for the matrix of scores")
    options = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}"
    )
    print(ROW.format("tokens", "way", "seconds", "of exact", "million mult.", "ns per mult."))
    count = 512
    while count <= options.longest:
        generator = torch.Generator().manual_seed(count)
        vectors = [torch.randn(count, D, generator=generator) for _ in range(3)]
        possible = {
            name: way
            for name, way in WAYS.items()
            if name != "exact" or 2 * 4 * count**2 <= options.memory * 1e9
        }
        times: dict[str, list[float]] = {name: [] for name in possible}
        for _ in range(3):
            for name, (function, _, _) in possible.items():
                begun = time.perf_counter()
                function(*vectors)
                times[name].append(time.perf_counter() - begun)
        for name, (_, counted, settings) in possible.items():
            seconds = statistics.median(times[name])
            whole = statistics.median(times["exact"]) if "exact" in times else float("nan")
            operations = cost(counted, count, d=D, d_value=D, causal=True, **settings).operations
            print(
                ROW.format(
                    f"{count:,}", name, f"{seconds:.4f}", f"{seconds / whole:.3f}",
                    f"{operations / 1e6:,.1f}", f"{1e9 * seconds / operations:.3f}",
                )
            )  # fmt: skip
        count *= 2


if __name__ == "__main__":
    main()

"""Measure the time of exact, fused, windowed and linear attention beside counted products.

    python -m benchmarks.efficient
    OMP_NUM_THREADS=1 python -m benchmarks.efficient --longest 1048576

A way stops where its scores need more than `--memory` GB, or where a run took more than
`--seconds`. Fused is torch's own `scaled_dot_product_attention`. The window gathers blocks of keys,
so that only its pairs are computed. Linear attention is the recurrence over chunks. Seconds are the
quickest of three runs of one head with 64 numbers per query, float32, causal; ways alternate within
each run. Other work on the machine only adds time, so the quickest run is the nearest to a quiet
one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from attnviz.efficient.costs import cost

D = 64
WINDOW = 128
CHUNK = 128
REPEATS = 3
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


def held_bytes(name: str, count: int) -> int:
    """Return the bytes of scores and weights that a way holds, in float32."""
    pairs = {"exact": count**2, "window": 2 * WINDOW * count}.get(name, 0)
    return 2 * 4 * pairs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time beside counted multiplications.")
    parser.add_argument("--longest", type=int, default=16_384)
    parser.add_argument("--memory", type=float, default=4.0, help="GB for scores and weights")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest run that is continued")
    options = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}"
    )
    print(ROW.format("tokens", "way", "seconds", "of exact", "million mult.", "ns per mult."))
    count, running = 512, dict(WAYS)
    while count <= options.longest:
        generator = torch.Generator().manual_seed(count)
        vectors = [torch.randn(count, D, generator=generator) for _ in range(3)]
        running = {
            name: way
            for name, way in running.items()
            if held_bytes(name, count) <= options.memory * 1e9
        }
        times: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(REPEATS):
            for name, (function, _, _) in running.items():
                begun = time.perf_counter()
                function(*vectors)
                times[name].append(time.perf_counter() - begun)
        for name, (_, counted, settings) in running.items():
            seconds = min(times[name])
            of_exact = f"{seconds / min(times['exact']):.3f}" if "exact" in times else "stopped"
            operations = cost(counted, count, d=D, d_value=D, causal=True, **settings).operations
            print(
                ROW.format(
                    f"{count:,}", name, f"{seconds:.4f}", of_exact,
                    f"{operations / 1e6:,.1f}", f"{1e9 * seconds / operations:.3f}",
                ),
                flush=True,
            )  # fmt: skip
        running = {name: way for name, way in running.items() if min(times[name]) < options.seconds}
        count *= 2


if __name__ == "__main__":
    main()

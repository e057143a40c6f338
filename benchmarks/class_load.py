"""Load of a class: many visitors who each send a new text every few seconds.

    python -m benchmarks.class_load                            # 30 visitors, one process
    python -m benchmarks.class_load --visitors 30 60           # one server after the other
    python -m benchmarks.class_load --visitors 100 --workers 2 # two processes behind nginx
    python -m benchmarks.class_load --goals                    # the goals of a class
    python -m benchmarks.class_load --diagnosis --seconds 30   # while one visitor diagnoses a model
    python -m benchmarks.class_load --edits --seconds 60       # visitors edit attention

The app is started on a free port of this machine for each row of the table and stopped afterwards.
Visitors are websockets, not browsers, in the process of the benchmark; they take part of the
processors that the server could use. Columns:

    p50, p95, max  seconds from sending a text to the end of its script run
    picture p95    seconds from sending a text to the map of the chosen head
    cpu ms         processor time of all server processes per run
    errors         exceptions on a page and lost connections
    mixed          messages with a word of another visitor's text
    MB             memory of all server processes: at the start, halfway, at the end
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

from benchmarks.class_server import Usage, class_server
from benchmarks.class_visitors import Outcome, work

GOALS = ((30, 1, 0.5), (60, 1, 1.0), (100, 2, 3.0))
"""Visitors, worker processes, and the largest 95th percentile in seconds."""

ROW = "{:>8} {:>7} {:>5} {:>6} {:>6} {:>6} {:>8} {:>7} {:>7} {:>6}  {}"
HEAD = (
    *("visitors", "workers", "runs", "p50", "p95", "max"),
    *("picture", "cpu ms", "errors", "mixed", "MB"),
)


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of the values does not exceed; NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, int(len(ordered) * share) - 1)] if ordered else float("nan")


async def watched(server: Usage, seconds: float, readings: list[int]) -> None:
    """Read the server's memory every five seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        readings.append(server.megabytes())
        await asyncio.sleep(min(5.0, max(0.1, seconds / 10)))


async def measured(
    server: Usage, visitors: int, options: argparse.Namespace
) -> tuple[Outcome, list[int], float]:
    """Return the outcome of a class, memory readings in MB, and processor seconds."""
    readings = [server.megabytes()]
    before = server.processor_seconds()
    outcome, _ = await asyncio.gather(
        work(
            *(server.address, visitors, options.period, options.seconds, options.model),
            diagnosis=options.diagnosis,
            edits=options.edits,
        ),
        watched(server, options.seconds, readings),
    )
    return outcome, [*readings, server.megabytes()], server.processor_seconds() - before


def row(visitors: int, workers: int, options: argparse.Namespace) -> tuple[Outcome, float]:
    """Serve, measure and print one row; return the outcome and its 95th percentile."""
    with class_server(workers, options.arguments) as server:
        outcome, memory, spent = asyncio.run(measured(server, visitors, options))
    times = outcome.finished
    p50, p95, worst = (percentile(times, share) for share in (0.5, 0.95, 1.0))
    print(
        ROW.format(
            *(visitors, workers, len(times), f"{p50:.2f}", f"{p95:.2f}", f"{worst:.2f}"),
            f"{percentile(outcome.pictured, 0.95):.2f}",
            f"{1000 * spent / max(1, len(times) + visitors):.0f}",
            *(len(outcome.errors), len(outcome.foreign_markers)),
            f"{memory[0]} {memory[len(memory) // 2]} {memory[-1]}",
        ),
        flush=True,
    )
    for message in sorted(set(outcome.errors))[:3]:
        print(f"    {message}")
    return outcome, p95


def main() -> int:
    """Print the table; the exit status is 1 if a goal is missed or a run has failed."""
    parser = argparse.ArgumentParser(description="How quick the app is for a whole class.")
    parser.add_argument("--visitors", type=int, nargs="+", default=[30])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--period", type=float, default=10.0, help="seconds between two texts")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each row")
    parser.add_argument("--model", nargs="+", default=["gpt-classroom"])
    parser.add_argument("--goals", action="store_true", help="measure the goals of a class")
    parser.add_argument(
        "--diagnosis", action="store_true", help="while a diagnosis of 60 texts runs"
    )
    parser.add_argument(
        "--edits", action="store_true", help="visitors are on the page Edit and change heads"
    )
    parser.add_argument("arguments", nargs="*", help="further arguments of `attnviz app`, after --")
    options = parser.parse_args()
    rows: list[tuple[int, int, float]] = [
        (visitors, options.workers, float("inf")) for visitors in options.visitors
    ]
    if options.goals:
        rows = list(GOALS)
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    print(ROW.format(*HEAD))
    good = True
    for visitors, workers, goal in rows:
        outcome, p95 = row(visitors, workers, options)
        good &= p95 <= goal and not outcome.errors and not outcome.foreign_markers
    if options.goals:
        print("goals: " + ", ".join(f"{v} visitors under {goal:g} s" for v, _, goal in GOALS))
        print("all met" if good else "NOT all met")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Settings of the variants that trade cost for accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Knob", "knob"]


@dataclass(frozen=True)
class Knob:
    """Integer setting of a variant.

    Attributes:
        name: what `run` takes.
        label: how it is written.
        start: a first value.
        values: values to choose from, ascending.
        meaning: what a larger value does, in one sentence.
    """

    name: str
    label: str
    start: int
    values: tuple[int, ...]
    meaning: str


_SMALL = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_KNOBS: Mapping[str, Knob] = {
    "flash": Knob(
        "block", "Keys per tile", 4, _SMALL, "The result is the same for every size of the tiles."
    ),
    "ring": Knob(
        "devices", "Devices", 4, (1, 2, 3, 4, 6, 8, 16), "More devices each hold less of the text."
    ),
    "grouped_query": Knob(
        "groups", "Groups of heads", 2, (1, 2, 4, 8), "More groups keep more keys and values."
    ),
    "latent": Knob(
        "rank",
        "Numbers per token",
        16,
        (1, 2, 4, 8, 16, 32, 64, 128, 256),
        "More numbers per token keep more of the keys and values.",
    ),
    "window": Knob("window", "Window", 8, _SMALL, "A wider window computes more pairs."),
    "longformer": Knob("window", "Window", 8, _SMALL, "A wider window computes more pairs."),
    "bigbird": Knob(
        "block", "Tokens per block", 4, (1, 2, 4, 8, 16, 32, 64), "Larger blocks hold more pairs."
    ),
    "sparse": Knob(
        "stride",
        "Stride",
        4,
        (1, 2, 4, 8, 16, 32, 64),
        "Near the square root of the number of tokens the fewest pairs are computed.",
    ),
    "linformer": Knob(
        "rank", "Projected positions", 16, _SMALL, "More positions mix fewer tokens into one."
    ),
    "performer": Knob(
        "features",
        "Random features",
        64,
        (4, 16, 64, 256, 1024, 4096),
        "Four times as many features halve the error of an estimate.",
    ),
    "nystromformer": Knob(
        "landmarks", "Landmarks", 8, _SMALL, "More landmarks average fewer tokens into one."
    ),
    "state_space": Knob(
        "memory",
        "Memory in tokens",
        16,
        _SMALL,
        "After so many tokens the slowest part of the state has faded to a third.",
    ),
    "reformer": Knob(
        "buckets", "Buckets", 4, (1, 2, 4, 8, 16, 32), "More buckets compute fewer pairs."
    ),
}


def knob(name: str) -> Knob | None:
    """Return the setting of a variant; None for a variant without one."""
    return _KNOBS.get(name)

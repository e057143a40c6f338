"""Recorded losses of six equal decoders at positions beyond the length they were trained on.

`training/record_lengths.py` makes the record and describes it. The comparison is that of Press et
al. (2022), with far smaller models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz.lessons.positions.position_encodings import ENCODINGS
from attnviz.lessons.scene import Scene

__all__ = ["beyond_scene", "length_record", "position_losses"]

RECORD = Path(__file__).parent / "loss_by_position.json"

TOGETHER = 8
"""Positions whose mean is one point of a curve."""

KEPT = 0.1
"""Nats per byte by which a loss may rise beyond the trained length and still count as kept."""

NAMES = dict(
    zip(ENCODINGS, ("none", "sinusoidal", "learned", "buckets", "rotation", "alibi"), strict=True)
)
"""Names of the arrays."""


@cache
def length_record() -> Mapping[str, Any]:
    """Return the record; `training/record_lengths.py` describes its fields."""
    record: Mapping[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return record


def position_losses(encoding: str, field: str = "losses") -> Float[np.ndarray, "training position"]:
    """Return the losses of each training at each position, nats per byte; NaN where undefined."""
    record = length_record()
    longest = max(len(one["losses"]) for runs in record["runs"].values() for one in runs.values())
    rows = []
    for run in record["runs"][encoding].values():
        losses = np.full(longest, np.nan)
        losses[: len(run[field])] = run[field]
        rows.append(losses)
    return np.array(rows)


def beyond_scene() -> Scene:
    """Return the mean losses of each encoding, [point]; a point is `TOGETHER` positions."""
    record = length_record()
    trained = record["size"]["length"]
    points = {NAMES[encoding]: _points(position_losses(encoding)) for encoding in ENCODINGS}
    arrays = {name: one.mean(axis=0) for name, one in points.items()}
    arrays["longer_table"] = _points(position_losses("learned", "longer_table")).mean(axis=0)
    count = len(arrays["none"])
    last, twice = trained // TOGETHER - 1, 2 * trained // TOGETHER - 1
    rotation = arrays["rotation"]
    kept = int(np.argmax(np.append(rotation[last + 1 :], np.inf) > rotation[last] + KEPT))
    spread = [np.ptp(one[:, twice]) for name, one in points.items() if name != "learned"]
    return Scene(
        labels={"positions": [str(TOGETHER * (at + 1)) for at in range(count)]},
        arrays=arrays,
        values={
            "trained": float(trained),
            "edge": last + 0.5,
            "longest": float(TOGETHER * count),
            "layers": float(record["size"]["layers"]),
            "steps": float(record["schedule"]["steps"]),
            "trainings": float(len(points["none"])),
            "frequencies": record["frequency_loss"],
            "kept": float(TOGETHER * kept),
            "spread": float(max(spread)),
        },
        places={"last": last, "twice": twice, "end": count - 1},
    )


def _points(
    losses: Float[np.ndarray, "training position"],
) -> Float[np.ndarray, "training point"]:
    means: np.ndarray = losses.reshape(len(losses), -1, TOGETHER).mean(axis=2)
    return means

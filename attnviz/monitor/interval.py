"""Steps between two probes, so that the probes take a small share of the time."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque

from attnviz.errors import InputError

__all__ = ["FIRST_INTERVAL", "SHARE", "MeasuringInterval"]

SHARE = 0.01
"""The share of the training time that probes may take without a given interval."""

FIRST_INTERVAL = 10
"""Steps between two probes, at the least, without a given interval."""

REMEMBERED = 51  # steps whose median is the duration of a step


class MeasuringInterval:
    """Interval of steps between two probes, from their cost.

    Args:
        every: steps between two probes. None: 10 steps, doubled as often as it takes for a probe
            to cost at most 1% of the steps between two.
    """

    def __init__(self, every: int | None) -> None:
        if every is not None and every < 1:
            raise InputError(f"the probe is read every 1 step or more, not every {every}")
        self.every = every
        self.cost = 0.0  # seconds of the last probe
        self._steps: deque[float] = deque(maxlen=REMEMBERED)
        self._began = math.nan

    def begin(self) -> None:
        """Note that a training step begins."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """Note that a training step has ended."""
        if not math.isnan(self._began):
            self._steps.append(time.perf_counter() - self._began)

    @property
    def interval(self) -> int:
        """Steps between two probes, as far as is known now."""
        if self.every is not None:
            return self.every
        if not self._steps:
            return FIRST_INTERVAL
        allowed = SHARE * max(statistics.median(self._steps), 1e-6)
        doublings = math.ceil(math.log2(max(self.cost / (allowed * FIRST_INTERVAL), 1.0)))
        return int(FIRST_INTERVAL * 2**doublings)

    def due(self, step: int) -> bool:
        """Return whether the probe should be read after this step."""
        return step % self.interval == 0

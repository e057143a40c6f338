"""Stages of a diagnosis and the progress through them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from attnviz.findings import Progress

__all__ = ["GRADIENTS", "MEASURING", "PAIRS", "READING", "REMOVING", "Clock"]

READING = "reading the texts"
MEASURING = "measuring every head"
REMOVING = "removing one head after the other"
PAIRS = "removing groups of heads"
GRADIENTS = "computing gradients"

STAGES: Mapping[str, float] = {
    READING: 0.03,
    MEASURING: 0.17,
    REMOVING: 0.65,
    PAIRS: 0.05,
    GRADIENTS: 0.10,
}
"""About which share of the time each takes."""


class Clock:
    """Turns the share of a stage into the share of the whole.

    Args:
        progress: callback; None for none.
        experiments: whether heads will be removed.
        read: whether the texts have been read already.
    """

    def __init__(
        self,
        progress: Callable[[Progress], None] | None,
        *,
        experiments: bool,
        read: bool = False,
    ) -> None:
        self.progress = progress
        self.began = time.monotonic()
        stages = {
            stage: share
            for stage, share in STAGES.items()
            if (experiments or stage in (READING, MEASURING)) and not (read and stage == READING)
        }
        whole = sum(stages.values())
        self.shares = {stage: share / whole for stage, share in stages.items()}
        self.done = 0.0
        self.stage = ""

    @property
    def seconds(self) -> float:
        """Since all of it began."""
        return time.monotonic() - self.began

    def begin(self, stage: str) -> Callable[[float], None]:
        """Begin a stage; return the callback for its finished share."""
        self.done += self.shares.get(self.stage, 0.0)
        self.stage = stage
        self._report(0.0)
        return self._report

    def end(self) -> None:
        """Report that all is finished."""
        if self.progress is not None:
            self.progress(Progress("done", 1.0, self.seconds))

    def _report(self, share: float) -> None:
        if self.progress is not None:
            whole = min(self.done + self.shares[self.stage] * share, 1.0)
            self.progress(Progress(self.stage, whole, self.seconds))

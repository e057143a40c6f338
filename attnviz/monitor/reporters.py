"""Reporters of the library's Trainer: how curves reach them, and what they kept of a training."""

from __future__ import annotations

from types import FrameType

from transformers.trainer_callback import CallbackHandler, PrinterCallback, ProgressCallback

from attnviz.monitor.curves import PREFIX, Row

__all__ = ["CONSOLE", "CurveName", "calling_handler", "logged_curves"]

CONSOLE = (ProgressCallback, PrinterCallback)
"""Reporters that print each log: dozens of numbers there would push the loss off the screen."""


class CurveName(str):
    """Name that stays as it is: reporters put "train/" before all that is not an evaluation's.

    TensorBoard groups by the first word, and "train" would bury the loss among the heads.
    """

    __slots__ = ()

    def __radd__(self, other: str) -> str:
        return str(self)


def calling_handler(frame: FrameType | None) -> CallbackHandler | None:
    """Return the handler that called the callback; the library does not pass it on."""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, CallbackHandler):
            return owner
        frame = frame.f_back
    return None


def logged_curves(history: list[dict[str, float]]) -> list[Row]:
    """Return the curves that a training had when it was interrupted."""
    rows = (
        (int(entry["step"]), {name: one for name, one in entry.items() if name.startswith(PREFIX)})
        for entry in history
    )
    return [(step, row) for step, row in rows if row]

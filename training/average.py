"""Moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows a model; the average of its last steps, the earlier the fainter."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self.decay = decay
        self.steps = 0
        self.values: list[Tensor] = [one.detach().clone() for one in self.parameters]

    def follow(self) -> None:
        """Take in the weights after a step; the first steps count less and less."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))  # 0: the weights as they are
        with torch.no_grad():
            torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model have the average for a while."""
        original = [one.detach().clone() for one in self.parameters]
        self.give()
        try:
            yield
        finally:
            self._fill(original)

    def give(self) -> None:
        """Let the model have the average for good."""
        self._fill(self.values)

    def _fill(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def state(self) -> dict[str, object]:
        """Return the numbers that a checkpoint keeps."""
        return {"steps": self.steps, "values": self.values}

    def restore(self, state: dict[str, object]) -> None:
        """Restore the state from a checkpoint."""
        self.steps = int(state["steps"])  # type: ignore[call-overload]
        for mine, theirs in zip(self.values, state["values"], strict=True):  # type: ignore[call-overload]
            mine.copy_(theirs)

"""Numbers, labels and places of the picture of one step, and what they are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from attnviz.captures.forward_pass import Capture
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["LessonInput", "Scene", "Value"]

Value = float | str | Sequence[float] | Sequence[str]
"""Value of a placeholder; a sequence has one value per frame."""


@dataclass(frozen=True)
class Scene:
    """Numbers and names that the browser needs to draw a step and to compute in it.

    Attributes:
        labels: names along an axis: tokens of the keys, names of frames.
        arrays: numbers by name; the first axis is the frame where the step has frames.
        values: values of placeholders in the texts.
        places: positions by name, for linked words and placeholders.
    """

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LessonInput:
    """Input of a lesson's numbers.

    Attributes:
        capture: of the sentence, at most `MOST_TOKENS` tokens long.
        head: the head that is looked at.
        load: returns a loaded model by its name.
        seed: of what is drawn at random.
        replaced: whether the student's text has taken the place of the lesson's.
    """

    capture: Capture
    head: Head
    load: Callable[[str], Model]
    seed: int = 0
    replaced: bool = False

    @property
    def model(self) -> Model:
        """Return the model that read the sentence."""
        return self.load(self.capture.model.name)

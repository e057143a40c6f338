"""Numbers of the lesson about the softmax: a real row of scores and its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from attnviz.lessons.head_row import head_row
from attnviz.lessons.scene import LessonInput, Scene

__all__ = ["softmax_scenes"]

STEPS = ("twice", "shift", "temperature", "hidden", "sink")


def softmax_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: all share the row of the last token.

    The browser computes the softmax; `twice` is the score at which the second key has half the
    weight of the first, and `half` the score of a sink that takes half of all weight: the
    logarithm of the sum of exp(score).

    Raises:
        InputError: as `head_row`.
    """
    row = head_row(given)
    scores = row.scores.astype(np.float64)
    top, second = int(row.order[0]), int(row.order[1])
    scene = Scene(
        labels={"keys": row.key_labels, "sentence": row.labels},
        arrays={"scores": row.scores, "weights": row.weights},
        values={
            "twice": float(scores[top] - math.log(2)),
            "top_score": float(scores[top]),
            "top_weight": float(row.weights[top]),
            "gap": float(scores[top] - scores[second]),
            "half": float(np.logaddexp.reduce(scores)),
            "low_sink": float(scores[top] - 8),
            "high_sink": float(scores[top] + 8),
            "query_label": row.labels[row.query],
            "head": given.head.label,
        },
        places={"query": row.query, "top": top, "second": second, "third": int(row.order[2])},
    )
    return dict.fromkeys(STEPS, scene)

"""Numbers of the lesson about masks: who may see whom, and a model that sees the answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from attnviz.errors import InputError
from attnviz.lessons.head_row import head_row
from attnviz.lessons.masked_run import losses_under
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene

__all__ = ["mask_scenes"]

phrase = phrases_of("masks")

AHEAD = (0, 1, 2)
"""Later tokens that a token sees; 0 is the causal mask."""

SECTION = 6
"""Tokens of the mask that is painted: few enough to be painted by hand."""


def mask_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: the causal mask, the losses without it, and zeros before or after.

    Raises:
        InputError: as `head_row`, or a model that is no decoder.
    """
    model = given.model
    if model.info.family != "decoder":
        raise InputError(phrase("no_decoder", model=model.info.name))
    row = head_row(given)
    stack, head = given.capture[given.head.kind], given.head
    scale = float(stack.layers[head.layer].scaling)
    scores = stack.query(head.layer, head.head) @ stack.key(head.layer, head.head).T * scale
    size = min(SECTION, len(scores))
    causal = np.tril(np.ones((size, size)))
    section = scores[:size, :size]
    ids = list(given.capture.inputs.ids)
    count = len(ids)
    read, everything = torch.tensor(ids), torch.ones(count, count, dtype=torch.bool)
    losses = np.stack([losses_under(model, read, everything.tril(far)) for far in (*AHEAD, count)])
    means = losses.mean(axis=1)
    top = int(row.order[0])
    labels = stack.query_tokens.labels
    return {
        "paint": Scene(
            labels={"tokens": labels[:size], "masks": (phrase("no_mask"), phrase("causal_mask"))},
            arrays={
                "scores": np.stack([section, np.where(causal > 0, section, -np.inf)]),
                "causal": causal,
            },
            values={"pairs": float(size * (size - 1) // 2), "size": float(size)},
            places={"first": 0},
        ),
        "cheat": Scene(
            labels={
                "tokens": labels[1:],
                "ahead": (
                    phrase("none_ahead"),
                    *(phrase("ahead", count=far) for far in AHEAD[1:]),
                    phrase("all_ahead"),
                ),
            },
            arrays={"with_mask": losses[0], "without": losses},
            values={
                "honest": float(means[0]),
                "cheating": means.tolist(),
                "everything": float(means[-1]),
            },
            places={"last": count - 2, "all_ahead": len(AHEAD)},
        ),
        "zeros": Scene(
            labels={"keys": row.key_labels},
            arrays={"scores": row.scores, "weights": row.weights},
            values={
                "others": float(1 - row.weights[top]),
                "query_label": row.labels[row.query],
            },
            places={"top": top, "second": int(row.order[1])},
        ),
    }

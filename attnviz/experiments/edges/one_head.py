"""Change of the output of one head in the runs of a batch, and its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Places
from attnviz.attention.recorder import Call
from attnviz.captures.forward_pass import capture_ids
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import check_head, check_separate
from attnviz.experiments.patching.head_patches import MOST_COPIES
from attnviz.models import Encoded, Model
from attnviz.types import Head

__all__ = ["MOST_EDGE_TOKENS", "OneHead", "copies_at_once", "weights_of"]

MOST_EDGE_TOKENS = 128
"""Longest text: a run per key is made of it."""

READ_AT_ONCE = 2_048
"""Most tokens of the runs of one batch: progress is reported, and may cancel, between batches."""

Change = Callable[
    ["Float[Tensor, 'copy query value_dim']", "Float[Tensor, 'copy key value_dim']"],
    "Float[Tensor, 'copy query value_dim']",
]
"""Output of a head and its values come in; the output that the model continues with comes out."""


class OneHead:
    """Change of attention calls: the output of one head in every run of a batch.

    Args:
        places: kind and layer of a call.
        head: whose output.
        change: returns the new output.
    """

    def __init__(self, places: Places, head: Head, change: Change) -> None:
        self.places = places
        self.head = head
        self.change = change

    def call(self, call: Call) -> Call:
        """Return the same call."""
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output of a layer with that of the head changed."""
        head = self.head
        if self.places.of(call) != (head.kind, head.layer):
            return output
        group = call.query.shape[1] // call.value.shape[1]
        changed = output.clone()
        new = self.change(
            output[:, :, head.head].float(), call.value[:, head.head // group].float()
        )
        changed[:, :, head.head] = new.to(output.dtype)
        return changed


def copies_at_once(encoded: Encoded) -> int:
    """Return the number of runs of one batch."""
    tokens = len(encoded.ids) + len(encoded.target or ())
    return max(1, min(MOST_COPIES, READ_AT_ONCE // tokens))


def weights_of(model: Model, encoded: Encoded, head: Head) -> Float[Tensor, "query key"]:
    """Return the weights of a head on a text, on the model's device.

    Raises:
        InputError: no such head, a text that is too long, or a model that runs one module for
            several layers.
    """
    check_head(model, head)
    longest = max(len(encoded.ids), len(encoded.target or ()))
    if longest > MOST_EDGE_TOKENS:
        raise InputError(
            f"edges are measured on texts of at most {MOST_EDGE_TOKENS} tokens, and this one has "
            f"{longest}. Shorten it."
        )
    check_separate(model, "changed")
    stack = capture_ids(model, [encoded], predict=False)[0][head.kind]
    weights = torch.from_numpy(stack.weights(head.layer, head.head).copy())
    return weights.to(model.network.device)

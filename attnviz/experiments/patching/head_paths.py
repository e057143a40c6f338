"""Path patching: what one head passes to another one, measured by its effect on the prediction.

The output of a sender in the clean run goes into a run on the corrupted text. All other heads keep
their corrupted outputs there, so what changes in the queries, keys or values of the receiver has
come from the sender over the residual stream and the MLPs alone, through no third head. This part
of the receiver then goes into a run on the corrupted text, and the logit difference is measured.
Sources: Wang et al. 2022 (heads held fixed, MLPs computed anew), Goldowsky-Dill et al. 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.call_changes import changing
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import check_head
from attnviz.experiments.patching.head_patches import CleanRun, PatchEffects, runs_at_once
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, logits_of
from attnviz.models import Model
from attnviz.types import Head, Kind

__all__ = ["Reads", "patch_paths", "senders_of"]

Reads = Literal["query", "key", "value"]

READS: tuple[Reads, ...] = get_args(Reads)


def patch_paths(
    model: Model,
    pair: TextPair,
    difference: LogitDifference,
    receiver: Head,
    reads: Reads = "key",
    *,
    progress: Callable[[float], None] | None = None,
) -> PatchEffects:
    """Measure the path from every earlier head into one part of a head.

    >>> import attnviz
    >>> from attnviz.experiments.patching.head_paths import patch_paths
    >>> from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, word_id
    >>> from attnviz.models import encode
    >>> from attnviz.types import Head
    >>> model = attnviz.load("gpt-classroom")
    >>> pair = TextPair(
    ...     encode(model, "The red dog saw the blue bird. The red"),
    ...     encode(model, "The blue dog saw the red bird. The red"),
    ... )
    >>> words = [word_id(model, word)[0] for word in ("dog", "bird")]
    >>> paths = patch_paths(model, pair, LogitDifference(*words), Head("self", 1, 3), "key")
    >>> import numpy as np
    >>> int(np.nanargmax(paths.share("self")))  # L0·H7 writes what the keys of L1·H3 are made of
    7

    Args:
        model: from `attnviz.load`, with a trained language head.
        pair: two texts; of unequal numbers of tokens, senders are patched at tokens with a partner.
        difference: logits that are compared, and where.
        receiver: head that reads.
        reads: its queries, its keys, or its values. With shared keys, those of the whole group.
        progress: callback for the finished share. It may raise to cancel.

    Returns:
        Effects by the sender; NaN for heads that are computed no earlier than the receiver.

    Raises:
        InputError: see `TextPair.check`; no such head or part, an unknown token or position.
    """
    if reads not in READS:
        raise InputError(f"a head reads into its {', '.join(READS)}, not {reads!r}")
    check_head(model, receiver)
    clean = CleanRun.of(model, pair, "output")
    corrupted = CleanRun.of(model, TextPair(pair.corrupted, pair.corrupted), "output")
    there = pair.in_corrupted(difference)
    senders = _earlier(corrupted, receiver)
    room = runs_at_once(corrupted.logits)
    patched = {kind: np.full(size, np.nan) for kind, size in model.info.heads.items()}
    for start in range(0, len(senders), room):
        group = senders[start : start + room]
        sent = _Sent(clean, corrupted.parts, group, receiver, reads)
        with changing(sent):
            logits_of(model, pair.corrupted, len(group))
        with changing(_Received(sent)):
            logits = logits_of(model, pair.corrupted, len(group))
        for head, value in zip(group, there.of(logits).tolist(), strict=True):
            patched[head.kind][head.layer, head.head] = value
        if progress is not None:
            progress(min(start + room, len(senders)) / len(senders))
    ends = (float(difference.of(clean.logits)[0]), float(there.of(corrupted.logits)[0]))
    return PatchEffects(reads, *ends, patched)


def senders_of(model: Model, receiver: Head) -> int:
    """Return how many heads there may be before a head: those of lower layers and other kinds."""
    return sum(
        heads * (receiver.layer if kind == receiver.kind else layers)
        for kind, (layers, heads) in model.info.heads.items()
    )


def _earlier(run: CleanRun, receiver: Head) -> list[Head]:
    """Return the heads whose outputs were computed before the layer of the receiver."""
    heads: list[Head] = []
    for (kind, layer), outputs in run.parts.items():  # in the order of the calls
        if (kind, layer) == (receiver.kind, receiver.layer):
            return heads
        heads += [Head(kind, layer, head) for head in range(len(outputs))]
    raise InputError(f"{receiver.label} was not computed on this text")


class _Sent:
    """Change of attention calls: heads keep their corrupted outputs, but each run has a sender.

    Attributes:
        received: the receiver's part in each run, [run, position, dim].
    """

    def __init__(
        self,
        clean: CleanRun,
        corrupted: Mapping[tuple[Kind, int], Float[Tensor, "head position dim"]],
        senders: Sequence[Head],
        receiver: Head,
        reads: Reads,
    ) -> None:
        self.clean, self.corrupted, self.senders = clean, corrupted, senders
        self.receiver, self.reads = receiver, reads
        self.received: Float[Tensor, "run position dim"] | None = None

    def call(self, call: Call) -> Call:
        """Keep the receiver's part; return the same call."""
        if self.reached(call):
            self.received = getattr(call, self.reads)[:, self.shared(call)].clone()
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the corrupted outputs, with the sender of each run from the clean run."""
        place = self.clean.places.of(call)
        if place is None:
            return output
        fixed = self.corrupted[place].transpose(0, 1).to(output.dtype)
        changed = fixed.expand(output.shape).clone()
        there = self.clean.pair.queries(place[0])
        for run, head in enumerate(self.senders):
            if (head.kind, head.layer) == place:
                given = self.clean.parts[place][head.head][there.clean]
                changed[run, there.corrupted, head.head] = given.to(output.dtype)
        return changed

    def reached(self, call: Call) -> bool:
        """Return whether a call is that of the receiver's layer."""
        return self.clean.places.of(call) == (self.receiver.kind, self.receiver.layer)

    def shared(self, call: Call) -> int:
        """Return the index of the receiver's part among those of its layer."""
        parts: int = getattr(call, self.reads).shape[1]
        return self.receiver.head // (call.query.shape[1] // parts)


class _Received:
    """Change of attention calls: the receiver's part in each run is the one that was kept."""

    def __init__(self, sent: _Sent) -> None:
        self.sent = sent

    def call(self, call: Call) -> Call:
        """Return the call with the part put in."""
        sent = self.sent
        if not sent.reached(call) or sent.received is None:
            return call
        part = getattr(call, sent.reads).clone()
        part[:, sent.shared(call)] = sent.received
        return replace(call, **{sent.reads: part})

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the same output."""
        return output

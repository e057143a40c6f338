"""Ablation of heads: their output is replaced, and the loss is measured again.

Zero ablation removes the whole output. Mean ablation replaces it by the head's mean output over all
positions and texts, which removes only the part that depends on the text. Heads are switched off by
a gate behind the attention function, many in one forward pass: each copy of the batch lacks another
head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.attention import Intervention, Places
from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.loss_examples import Example, batches
from attnviz.experiments.replay import Replay
from attnviz.findings import REPLACEMENTS, Replacement
from attnviz.models import Model
from attnviz.types import Head, Kind

__all__ = ["Ablation", "ablate", "ablate_groups", "by_text"]

BATCH_TOKENS = 1024
"""Tokens of a batch: its copies multiply them."""

COPY_BYTES = 512 << 20
"""About what the copies of a batch may take, in logits and in a layer's widest intermediate."""

WIDEST = 4  # a feed-forward layer is about four times as wide as the text's vectors

Task = tuple[Replacement, tuple[Head, ...]]
"""Replacement, and the heads that are replaced together."""


@dataclass(frozen=True)
class Ablation:
    """Change of the loss without heads, text by text.

    Attributes:
        tokens: number of predicted tokens per text.
        baseline: summed loss of each text with all heads, nats.
        change: by replacement and kind, the change of that sum without a head, nats; positive
            where the loss is higher without it.
    """

    tokens: Int[np.ndarray, " text"]
    baseline: Float[np.ndarray, " text"]
    change: Mapping[Replacement, Mapping[Kind, Float[np.ndarray, "layer head text"]]]


def ablate(
    model: Model,
    examples: Sequence[Example],
    *,
    replacements: Sequence[Replacement] = ("zero", "mean"),
    progress: Callable[[float], None] | None = None,
) -> Ablation:
    """Return the loss change of every text when each head is switched off by itself.

    Args:
        model: from `attnviz.load`; with a trained language head.
        examples: from `attnviz.experiments.loss_examples`. Texts without a loss input have no
            loss: NaN.
        replacements: what takes the place of a head's output: "zero"; "mean", its mean over all
            positions and texts of these runs; "uniform", the average of the values that the query
            can see (what the head would give if it attended evenly). Without any, only the
            baseline is measured.
        progress: callback for the finished share. It may raise to cancel.

    Raises:
        InputError: an unknown replacement, or no text with anything to predict.
    """
    for replacement in replacements:
        if replacement not in REPLACEMENTS:
            raise InputError(
                f"a head's output is replaced by {', '.join(REPLACEMENTS)}, not {replacement!r}"
            )
    heads = model.info.every_head()
    tasks: list[Task] = [(replacement, (head,)) for replacement in replacements for head in heads]
    baseline, changes = _run(model, examples, tasks, progress)
    sizes = model.info.heads.items()
    change: dict[Replacement, dict[Kind, np.ndarray]] = {
        replacement: {kind: np.full((*size, len(examples)), np.nan) for kind, size in sizes}
        for replacement in replacements
    }
    for (replacement, (head,)), row in zip(tasks, changes, strict=True):
        change[replacement][head.kind][head.layer, head.head] = row
    tokens = np.array([example.tokens for example in examples])
    return Ablation(tokens, baseline, change)


def ablate_groups(
    model: Model,
    examples: Sequence[Example],
    groups: Iterable[tuple[Head, ...]],
    replacement: Replacement = "mean",
    *,
    progress: Callable[[float], None] | None = None,
) -> dict[tuple[Head, ...], Float[np.ndarray, " text"]]:
    """Return the change of each text's summed loss without several heads together, nats.

    For redundant heads: removing either costs nothing, removing both may.

    Raises:
        InputError: as `ablate`, or a head that the model does not have.
    """
    chosen = list(dict.fromkeys(groups))
    for head in (head for group in chosen for head in group):
        layers, count = model.info.heads.get(head.kind, (0, 0))
        if not (0 <= head.layer < layers and 0 <= head.head < count):
            raise InputError(f"{model.info.name} has no head {head.label}")
    tasks: list[Task] = [(replacement, group) for group in chosen]
    _, changes = _run(model, examples, tasks, progress)
    return dict(zip(chosen, changes, strict=True))


def _run(
    model: Model,
    examples: Sequence[Example],
    tasks: Sequence[Task],
    progress: Callable[[float], None] | None,
) -> tuple[Float[np.ndarray, " text"], Float[np.ndarray, "task text"]]:
    """Return the baseline losses and the loss changes of every task, nats, summed per text."""
    loss_inputs = [loss_input for example in examples for loss_input in example.loss_inputs]
    if not loss_inputs:
        raise InputError(
            "no text has anything to predict, so there is no loss that could change: a model with "
            "a trained language head is needed, and texts of two tokens at least"
        )
    hooked = HookedModel.of(model)
    groups = list(batches([loss_input.encoded for loss_input in loss_inputs], BATCH_TOKENS))
    means = _Means()
    if any(replacement == "mean" for replacement, _ in tasks):
        for group in groups:
            replay = Replay(hooked, [loss_inputs[index] for index in group], remember=False)
            means.next_batch(replay.inputs, hooked.places())
            replay.begin(means)
    baseline = np.zeros(len(loss_inputs))
    changes = np.zeros((len(tasks), len(loss_inputs)))
    done, total = 0, len(groups) * max(len(tasks), 1)
    for group in groups:
        chosen = [loss_inputs[index] for index in group]
        replay = Replay(hooked, chosen, remember=bool(tasks))
        whole = replay.begin()
        baseline[group] = whole.cpu().numpy()
        for start, part in _together(replay, tasks):
            gates = _Gates(hooked.places(), [tasks[index] for index in part], means)
            losses = replay.again(start, len(part), gates)
            changes[np.ix_(part, group)] = (losses - whole).cpu().numpy()
            done += len(part)
            if progress is not None:
                progress(done / total)
    return by_text(baseline, examples), by_text(changes, examples)


def _together(replay: Replay, tasks: Sequence[Task]) -> Iterator[tuple[Head, list[int]]]:
    """Yield the indices of tasks for one replay, as many as fit in memory, and its first head."""
    by_depth: dict[int, list[int]] = {}
    starts: dict[int, Head] = {}
    for index, (_, heads) in enumerate(tasks):
        lowest = min(heads, key=replay.depth)
        starts.setdefault(replay.depth(lowest), lowest)
        by_depth.setdefault(replay.depth(lowest), []).append(index)
    network = replay.hooked.model.network
    words = int(network.get_input_embeddings().weight.shape[0])
    width = int(network.get_input_embeddings().weight.shape[1])
    positions = sum(tensor.numel() for name, tensor in replay.inputs.items() if "ids" in name)
    bytes_each = positions * network.dtype.itemsize * (words + WIDEST * 3 * width)
    room = max(COPY_BYTES // bytes_each, 1)
    for depth, indices in by_depth.items():
        for first in range(0, len(indices), room):
            yield starts[depth], indices[first : first + room]


def by_text(
    sums: Float[np.ndarray, "*place loss_input"], examples: Sequence[Example]
) -> Float[np.ndarray, "*place text"]:
    """Return sums per text from sums per loss input; NaN for texts without loss inputs."""
    counts = np.array([len(example.loss_inputs) for example in examples])
    owner = np.repeat(np.eye(len(examples)), counts, axis=0)
    per_text: np.ndarray = sums @ owner
    per_text[..., counts == 0] = np.nan
    return per_text


class _Means(Intervention):
    """Sums every head's output over all positions and texts."""

    def __init__(self) -> None:
        self.places = Places({}, {})
        self.real: Mapping[Kind, Tensor] = {}
        self._sums: dict[tuple[Kind, int], Tensor] = {}
        self._counts: dict[tuple[Kind, int], float] = {}

    def next_batch(self, inputs: Mapping[str, Tensor], places: Places) -> None:
        """Begin another batch, whose layers `places` names; its padding is left out of the mean."""
        self.places = places
        read = inputs["attention_mask"]
        written = inputs.get("decoder_attention_mask", read)
        self.real = {"self": read, "encoder": read, "decoder": written, "cross": written}

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Count it in."""
        place = self.places.of(call)
        if place is not None:
            real = self.real[place[0]].to(torch.float64)
            total = torch.einsum("bqhd,bq->hd", output.double(), real)
            self._sums[place] = self._sums.get(place, 0.0) + total
            self._counts[place] = self._counts.get(place, 0.0) + float(real.sum())
        return output

    def mean(self, place: tuple[Kind, int], head: int) -> Tensor:
        """Return a head's mean output, [value_dim]."""
        return self._sums[place][head] / self._counts[place]


class _Gates(Intervention):
    """Switches heads off: others in each copy of the batch."""

    def __init__(self, places: Places, tasks: Sequence[Task], means: _Means) -> None:
        self.places = places
        self.copies = len(tasks)
        self.means = means
        self.closed: dict[tuple[Kind, int], list[tuple[int, int, Replacement]]] = {}
        for copy, (replacement, heads) in enumerate(tasks):
            for head in heads:
                gates = self.closed.setdefault((head.kind, head.layer), [])
                gates.append((copy, head.head, replacement))

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output with the closed heads replaced."""
        place = self.places.of(call)
        if place not in self.closed:
            return output
        changed = output.clone()
        copies = changed.view(self.copies, -1, *output.shape[1:])
        even: Tensor | None = None
        for copy, head, replacement in self.closed[place]:
            if replacement == "zero":
                copies[copy, :, :, head] = 0.0
            elif replacement == "mean":
                copies[copy, :, :, head] = self.means.mean(place, head).to(output)
            else:
                if even is None:
                    even = _even(call).view_as(copies)
                copies[copy, :, :, head] = even[copy, :, :, head]
        return changed


def _even(call: Call) -> Float[Tensor, "batch query head value_dim"]:
    """Return what every head would give if it attended to all keys it can see alike."""
    zero = torch.zeros_like(call.query)
    return attend(zero, call.key, call.value, call.visibility, ScoreTerms(call.scaling))

"""Running a model again and again from one of its layers on: what lies below is computed once.

An experiment on layer 9 leaves layers 0 to 8 as they were. A forward pass over the texts keeps what
each layer's block gave; a replay repeats it for several copies of the texts at once and lets the
blocks below answer from memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils import _pytree as trees

from attnviz.attention import Intervention, intervening
from attnviz.experiments.hooked_model import Patient
from attnviz.experiments.loss_examples import Question
from attnviz.models import model_inputs
from attnviz.types import Head

__all__ = ["Replay", "repeated", "summed_losses"]

LOGIT_ROWS = 2048
"""Rows of logits whose probabilities exist at a time."""


@dataclass
class Replay:
    """Batch of inputs that can be run again from any layer on.

    Args:
        patient: the model that is run.
        questions: the batch.
        remember: keep what the blocks gave; without, every replay runs the whole model.
    """

    patient: Patient
    questions: Sequence[Question]
    remember: bool = True
    inputs: dict[str, Tensor] = field(init=False)
    baseline: Float[Tensor, " question"] = field(init=False)
    _blocks: dict[str, int] = field(init=False)
    _kept: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = model_inputs(self.patient.model, [one.encoded for one in self.questions])
        self._blocks = {name: at for at, name in enumerate(_blocks(self.patient))}
        self.remember = self.remember and bool(self._blocks)

    def begin(self, intervention: Intervention | None = None) -> Float[Tensor, " question"]:
        """Run the batch as it is; returns the summed loss of each question, nats."""
        handles = []
        if self.remember:
            handles = [
                self.patient.network.get_submodule(name).register_forward_hook(self._keep(name))
                for name in self._blocks
            ]
        try:
            self.baseline = self._ask(1, intervention)[0]
        finally:
            for handle in handles:
                handle.remove()
        return self.baseline

    def depth(self, head: Head) -> int:
        """Return the number of the block that a head is in; 0 where every run takes all blocks."""
        if not self.remember:
            return 0
        return self._blocks[_block_of(self.patient.names[head.kind][head.layer])]

    def again(
        self, start: Head, copies: int, intervention: Intervention
    ) -> Float[Tensor, "copy question"]:
        """Summed losses of several copies of the batch; an intervention tells the copies apart.

        The copies follow each other: row c * len(questions) + q of the batch is question q of copy
        c. Nothing below the block of `start` may be intervened in.
        """
        patched: list[nn.Module] = []
        try:
            if self.remember:
                for name, at in self._blocks.items():
                    if at < self.depth(start):
                        block = self.patient.network.get_submodule(name)
                        block.forward = _answering(self._kept[name], len(self.questions), copies)
                        patched.append(block)
            return self._ask(copies, intervention)
        finally:
            for block in patched:
                del block.forward

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._kept[name] = output

        return hook

    def _ask(
        self, copies: int, intervention: Intervention | None
    ) -> Float[Tensor, "copy question"]:
        inputs = {name: repeated(tensor, copies) for name, tensor in self.inputs.items()}
        watch = contextlib.nullcontext() if intervention is None else intervening(intervention)
        with torch.no_grad(), watch:
            return summed_losses(self.patient, inputs, self.questions, copies)


def summed_losses(
    patient: Patient, inputs: dict[str, Tensor], questions: Sequence[Question], copies: int = 1
) -> Float[Tensor, "copy question"]:
    """Run a batch; returns the summed loss of each question in nats.

    Args:
        patient: the model that is run.
        inputs: the questions' texts, as many times as there are copies, one copy after the other.
        questions: what should be predicted where.
        copies: how many times the batch holds the questions.
    """
    device = inputs["input_ids"].device
    sizes = torch.tensor([len(question.wanted) for question in questions])
    owner = torch.repeat_interleave(torch.arange(len(questions)), sizes).to(device)
    position = torch.tensor([at for one in questions for at in one.positions], device=device)
    wanted = torch.tensor([word for one in questions for word in one.wanted], device=device)
    rows = (torch.arange(copies, device=device)[:, None] * len(questions) + owner).flatten()
    chosen = _logits_at(patient, inputs, rows, position.repeat(copies))
    costs = [
        nn.functional.cross_entropy(part.float(), words, reduction="none")
        for part, words in zip(
            torch.split(chosen, LOGIT_ROWS),
            torch.split(wanted.repeat(copies), LOGIT_ROWS),
            strict=True,
        )
    ]
    cost = torch.cat(costs).double().view(copies, -1)
    return cost.new_zeros(copies, len(questions)).index_add(1, owner, cost)


def _logits_at(
    patient: Patient, inputs: dict[str, Tensor], row: Tensor, position: Tensor
) -> Float[Tensor, "asked word"]:
    """Return the logits at some places of a batch.

    The language head is as wide as the vocabulary and often the costliest layer of a small model:
    it is given only the positions that the loss is taken over.
    """
    shape: tuple[int, ...] = ()

    def pick(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal shape
        hidden = arguments[0]
        if hidden.dim() != 3:
            return None
        shape = tuple(hidden.shape[:2])
        return (hidden[row, position][None], *arguments[1:])

    head = patient.network.get_output_embeddings()
    handle = None if head is None else head.register_forward_pre_hook(pick)
    try:
        logits: Tensor = patient.run(inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    picked = shape and tuple(logits.shape[:2]) == (1, len(row))
    return logits[0] if picked else logits[row, position]


def repeated(tensor: Tensor, copies: int) -> Tensor:
    """Return a batch several times over, one copy after the other."""
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.dim() - 1))


def _answering(kept: Any, rows: int, copies: int) -> Any:
    """Return a block's forward that gives what it gave before, for every copy of the batch."""

    def grown(value: Any) -> Any:
        batched = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == rows
        return repeated(value, copies) if batched else value

    answer = trees.tree_map(grown, kept)

    def forward(*arguments: Any, **options: Any) -> Any:
        return answer

    return forward


def _blocks(patient: Patient) -> list[str]:
    """Return the blocks that hold the attentions, in the order in which they run.

    None where a block runs more than once, or the attentions are in no list of blocks.
    """
    if patient.places().shared:
        return []
    ordered: dict[str, None] = {}
    every: Mapping[int, str] = patient.model.sites.names
    for module in patient.model.sites.kinds:
        block = _block_of(every[module])
        if not block:
            return []
        ordered[block] = None
    return list(ordered)


def _block_of(name: str) -> str:
    """Return the block a module belongs to: its name up to the first number."""
    parts = name.split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    return "" if number is None else ".".join(parts[: number + 1])

"""Running a model again and again from one of its layers on: what lies below is computed once.

An experiment on layer 9 leaves layers 0 to 8 as they were. A forward pass over the texts keeps what
each layer's block gave; a replay repeats it for several copies of the texts at once and lets the
blocks below answer from memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils import _pytree as trees

from attnviz.attention import Intervention, intervening
from attnviz.doctor.examples import Question
from attnviz.doctor.twins import Patient
from attnviz.models import model_inputs
from attnviz.types import Head

__all__ = ["Replay", "losses"]

LOGIT_ROWS = 2048
"""Rows of logits whose probabilities exist at a time."""


@dataclass
class Replay:
    """A batch of questions that can be asked again from any layer on.

    Args:
        patient: who is asked.
        questions: the batch.
        remember: keep what the blocks gave; without, every replay runs the whole model.
    """

    patient: Patient
    questions: list[Question]
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
        """The number of the block that a head is in; 0 where every run takes all blocks."""
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
        with torch.no_grad():
            if intervention is None:
                output = self.patient.run(inputs)
            else:
                with intervening(intervention):
                    output = self.patient.run(inputs)
            return losses(output.logits, self.questions, copies)


def losses(
    logits: Float[Tensor, "row position word"], questions: list[Question], copies: int = 1
) -> Float[Tensor, "copy question"]:
    """Summed loss of each question in nats, for batches that hold the questions several times."""
    sizes = [len(question.wanted) for question in questions]
    device = logits.device
    row = torch.repeat_interleave(torch.arange(len(questions)), torch.tensor(sizes)).to(device)
    position = torch.tensor([at for one in questions for at in one.positions], device=device)
    wanted = torch.tensor([word for one in questions for word in one.wanted], device=device)
    found = logits.new_zeros(copies, len(questions), dtype=torch.float64)
    for copy in range(copies):
        for start in range(0, len(row), LOGIT_ROWS):
            part = slice(start, start + LOGIT_ROWS)
            chosen = logits[copy * len(questions) + row[part], position[part]].float()
            cost = nn.functional.cross_entropy(chosen, wanted[part], reduction="none")
            found[copy].index_add_(0, row[part], cost.double())
    return found


def repeated(tensor: Tensor, copies: int) -> Tensor:
    """A batch several times over, one copy after the other."""
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.dim() - 1))


def _answering(kept: Any, rows: int, copies: int) -> Any:
    """A block's forward that gives what it gave before, for every copy of the batch."""

    def grown(value: Any) -> Any:
        batched = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == rows
        return repeated(value, copies) if batched else value

    answer = trees.tree_map(grown, kept)

    def forward(*arguments: Any, **options: Any) -> Any:
        return answer

    return forward


def _blocks(patient: Patient) -> list[str]:
    """The blocks that hold the attentions, in the order in which they run.

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
    """The block a module belongs to: its name up to the first number."""
    parts = name.split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    return "" if number is None else ".".join(parts[: number + 1])

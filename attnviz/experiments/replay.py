"""Cached forward passes that restart at any layer.

An experiment on layer 9 does not change layers 0 to 8. A forward pass over the texts keeps the
output of each layer's block. A replay runs several copies of the texts at once; the blocks below
the layer return their cached output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention import Intervention, intervening
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.loss_examples import LossInput
from attnviz.experiments.model_blocks import block_names, block_of, cached_forward, repeated
from attnviz.models import model_inputs
from attnviz.types import Head

__all__ = ["Replay", "summed_losses"]

LOGIT_ROWS = 2048
"""Rows of logits for which the cross-entropy is computed at a time."""


@dataclass
class Replay:
    """Batch of inputs with a forward pass that can restart at any layer.

    Args:
        hooked: model that is run.
        loss_inputs: the batch.
        remember: keep the outputs of the blocks; otherwise every replay runs the whole model.
    """

    hooked: HookedModel
    loss_inputs: Sequence[LossInput]
    remember: bool = True
    inputs: dict[str, Tensor] = field(init=False)
    baseline: Float[Tensor, " loss_input"] = field(init=False)
    _blocks: dict[str, int] = field(init=False)
    _kept: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = model_inputs(self.hooked.model, [one.encoded for one in self.loss_inputs])
        self._blocks = {name: at for at, name in enumerate(block_names(self.hooked))}
        self.remember = self.remember and bool(self._blocks)

    def begin(self, intervention: Intervention | None = None) -> Float[Tensor, " loss_input"]:
        """Run the batch and return the summed loss of each input, nats."""
        handles = []
        if self.remember:
            handles = [
                self.hooked.network.get_submodule(name).register_forward_hook(self._keep(name))
                for name in self._blocks
            ]
        try:
            self.baseline = self._losses(1, intervention)[0]
        finally:
            for handle in handles:
                handle.remove()
        return self.baseline

    def depth(self, head: Head) -> int:
        """Return the index of the block of a head; 0 if every replay runs all blocks."""
        if not self.remember:
            return 0
        return self._blocks[block_of(self.hooked.names[head.kind][head.layer])]

    def again(
        self, start: Head, copies: int, intervention: Intervention
    ) -> Float[Tensor, "copy loss_input"]:
        """Run several copies of the batch from the block of `start` on; return summed losses, nats.

        The copies follow each other: row c * len(loss_inputs) + i of the batch is input i of copy
        c. The intervention must leave the blocks below that of `start` unchanged.
        """
        patched: list[nn.Module] = []
        try:
            if self.remember:
                for name, at in self._blocks.items():
                    if at < self.depth(start):
                        block = self.hooked.network.get_submodule(name)
                        block.forward = cached_forward(
                            self._kept[name], len(self.loss_inputs), copies
                        )
                        patched.append(block)
            return self._losses(copies, intervention)
        finally:
            for block in patched:
                del block.forward

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._kept[name] = output

        return hook

    def _losses(
        self, copies: int, intervention: Intervention | None
    ) -> Float[Tensor, "copy loss_input"]:
        inputs = {name: repeated(tensor, copies) for name, tensor in self.inputs.items()}
        watch = contextlib.nullcontext() if intervention is None else intervening(intervention)
        with torch.no_grad(), watch:
            return summed_losses(self.hooked, inputs, self.loss_inputs, copies)


def summed_losses(
    hooked: HookedModel,
    inputs: dict[str, Tensor],
    loss_inputs: Sequence[LossInput],
    copies: int = 1,
) -> Float[Tensor, "copy loss_input"]:
    """Run a batch and return the summed loss of each input, nats.

    Args:
        hooked: model that is run.
        inputs: tensors of the loss inputs, repeated `copies` times, one copy after the other.
        loss_inputs: positions and target tokens of one copy.
        copies: number of copies in the batch.
    """
    device = inputs["input_ids"].device
    sizes = torch.tensor([len(loss_input.target_ids) for loss_input in loss_inputs])
    owner = torch.repeat_interleave(torch.arange(len(loss_inputs)), sizes).to(device)
    position = torch.tensor([at for one in loss_inputs for at in one.positions], device=device)
    targets = torch.tensor([word for one in loss_inputs for word in one.target_ids], device=device)
    rows = (torch.arange(copies, device=device)[:, None] * len(loss_inputs) + owner).flatten()
    chosen = _logits_at(hooked, inputs, rows, position.repeat(copies))
    costs = [
        nn.functional.cross_entropy(part.float(), words, reduction="none")
        for part, words in zip(
            torch.split(chosen, LOGIT_ROWS),
            torch.split(targets.repeat(copies), LOGIT_ROWS),
            strict=True,
        )
    ]
    cost = torch.cat(costs).double().view(copies, -1)
    return cost.new_zeros(copies, len(loss_inputs)).index_add(1, owner, cost)


def _logits_at(
    hooked: HookedModel, inputs: dict[str, Tensor], row: Tensor, position: Tensor
) -> Float[Tensor, "position word"]:
    """Return the logits at the given rows and positions of a batch.

    The language head is as wide as the vocabulary and often the costliest layer of a small model:
    it gets only the positions that the loss is taken over.
    """
    shape: tuple[int, ...] = ()

    def pick(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal shape
        hidden = arguments[0]
        if hidden.dim() != 3:
            return None
        shape = tuple(hidden.shape[:2])
        return (hidden[row, position][None], *arguments[1:])

    head = hooked.network.get_output_embeddings()
    handle = None if head is None else head.register_forward_pre_hook(pick)
    try:
        logits: Tensor = hooked.run(inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    picked = shape and tuple(logits.shape[:2]) == (1, len(row))
    return logits[0] if picked else logits[row, position]

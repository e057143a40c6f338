"""Figures of the classroom hybrid, their bars, and losses without each layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.models import Model
from training.evaluate_stories import (
    SAMPLE,
    copy_figures,
    copy_losses,
    known_heads,
    mixed_figure,
    rules,
    samples,
    unseen_figures,
)
from training.figures import Figure
from training.head_roles import mixed_ids

__all__ = [
    "SAMPLE",
    "copying",
    "copying_table",
    "figures",
    "known_heads",
    "rules",
    "samples",
    "unseen_figures",
]


@dataclass(frozen=True)
class Copying:
    """Copying of random tokens: losses in nats, and the share of right first guesses."""

    condition: str
    first: float
    second: float
    right: float


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus."""
    return [*copy_figures(model), mixed_figure(model)]


def copying(model: Model) -> list[Copying]:
    """Measure copies with the layers as trained, without attention heads, and without each mixer.

    Twelve rows, each with two copies of random tokens of another period. A mixer (the part of a
    layer that moves information between tokens) is replaced by zero; the feed-forward stays.
    """
    conditions = [_copying(model, "as trained")]
    for layer, block in enumerate(model.network.model.layers):
        attention = getattr(block, "self_attn", None)
        if attention is None:
            with changed(block.mamba, torch.zeros_like):
                conditions.append(_copying(model, f"layer {layer}, state space: output 0"))
            continue
        with changed(attention, torch.zeros_like):
            conditions.append(_copying(model, f"layer {layer}, attention: all heads 0"))
        for head in range(model.network.config.num_attention_heads):
            with without_head(attention, head):
                conditions.append(_copying(model, f"layer {layer}, attention: head {head} 0"))
    return conditions


def _copying(model: Model, condition: str) -> Copying:
    losses = [copy_losses(model, [row]) for row in mixed_ids(model)]
    right = [guessed(model, row) for row in mixed_ids(model)]
    first, second = (sum(part) / len(losses) for part in zip(*losses, strict=True))
    return Copying(condition, first, second, sum(right) / len(right))


def guessed(model: Model, row: list[int]) -> float:
    """Return the share of the tokens of the second copy that are the model's first guess.

    The first token of the copy is left out: nothing before it says that a copy begins.
    """
    ids = torch.tensor([row])
    with torch.no_grad():
        logits = model.network(input_ids=ids, use_cache=False).logits[0]
    start = (len(row) + 1) // 2
    right = logits[start:-1].argmax(-1) == ids[0, start + 1 :]
    return float(right.float().mean())


@contextmanager
def changed(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace what a module returns (the first part of a tuple) for a while."""

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return change(output[0]), *output[1:]
        return change(output)

    handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def without_head(attention: Any, head: int) -> Iterator[None]:
    """Set what one head adds to zero for a while: its part of what the projection reads."""
    size = attention.head_dim

    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = inputs[0].clone()
        values[..., head * size : (head + 1) * size] = 0
        return values, *inputs[1:]

    handle = attention.o_proj.register_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


def copying_table(conditions: list[Copying]) -> str:
    """Return the conditions as a Markdown table."""
    lines = ["| condition | first copy | second copy | right guesses |", "|---|---|---|---|"]
    lines += [
        f"| {one.condition} | {one.first:.2f} | {one.second:.2f} | {one.right:.2f} |"
        for one in conditions
    ]
    return "\n".join(lines)

"""Figures of the classroom Llama and their bars."""

from attnviz.attention import AttentionStack
from attnviz.models import Model
from training.evaluate_stories import (
    SAMPLE,
    copy_figures,
    furthest,
    known_heads,
    mixed_figure,
    previous_figures,
    rules,
    samples,
    unseen_figures,
)
from training.figures import Figure
from training.head_roles import PERIOD, repeat_stacks

__all__ = [
    "LONG",
    "SAMPLE",
    "figures",
    "known_heads",
    "rules",
    "samples",
    "unseen_figures",
    "window_layers",
]

LONG = 300  # a period whose two copies are longer than the context of the classroom GPT


def window_layers(model: Model) -> list[int]:
    """Return the zero-based numbers of the layers with a sliding window."""
    kinds = model.network.config.layer_types
    return [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus."""
    return [
        *previous_figures(model, PERIOD, LONG),
        *copy_figures(model, PERIOD),
        *copy_figures(model, LONG),
        mixed_figure(model),
        window_figure(model, repeat_stacks(model, LONG)[0]),
    ]


def window_figure(model: Model, stack: AttentionStack) -> Figure:
    """Return how far the layers with a window look back in a text of 601 tokens."""
    windows = window_layers(model)
    farthest = max(furthest(stack, layer) for layer in windows)
    others = [layer for layer in range(stack.shape[0]) if layer not in windows]
    note = ", ".join(f"L{layer}" for layer in windows)
    note += f"; {', '.join(f'L{layer}' for layer in others)} up to "
    note += f"{max(furthest(stack, layer) for layer in others)}"
    window = model.network.config.sliding_window
    return Figure("tokens that window layers look back", farthest, window, side="below", note=note)

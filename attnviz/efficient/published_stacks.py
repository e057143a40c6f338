"""Layers of published models, for the size of their caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnviz.efficient.layer_stack import Layer, attention_layer, latent_layer, state_layer

__all__ = ["PUBLISHED", "PublishedStack"]


@dataclass(frozen=True)
class PublishedStack:
    """Layers of a published model.

    Attributes:
        layers: first to last.
        tokens: length of text it was published for.
        source: report and year.
    """

    layers: tuple[Layer, ...]
    tokens: int
    source: str


def _jamba() -> tuple[Layer, ...]:
    """Return 32 layers, of which every eighth has attention, the first of them layer 4."""
    state, attention = state_layer(8192, 16, convolution=4), attention_layer(8, 128)
    return tuple(attention if at % 8 == 4 else state for at in range(32))


def _striped_hyena() -> tuple[Layer, ...]:
    """Return 32 layers: long convolutions and grouped attention in turn.

    A convolution keeps, per channel, a state of 2 complex numbers and the last 3 inputs of each of
    its 3 projections.
    """
    state, attention = state_layer(4096, 2 * 2, convolution=3 * 3), attention_layer(8, 128)
    return tuple(attention if at % 2 else state for at in range(32))


def _gemma() -> tuple[Layer, ...]:
    """Return 26 layers: a window of 4,096 tokens and full attention in turn."""
    return tuple(attention_layer(4, 256, None if at % 2 else 4096) for at in range(26))


PUBLISHED: Mapping[str, PublishedStack] = {
    "Llama 2 7B": PublishedStack((attention_layer(32, 128),) * 32, 4096, "Touvron et al. 2023"),
    "Llama 2 70B": PublishedStack((attention_layer(8, 128),) * 80, 4096, "Touvron et al. 2023"),
    "Mistral 7B": PublishedStack(
        (attention_layer(8, 128, 4096),) * 32, 32_768, "Jiang et al. 2023"
    ),
    "Llama 3 8B": PublishedStack(
        (attention_layer(8, 128),) * 32, 131_072, "Grattafiori et al. 2024"
    ),
    "Gemma 2 2B": PublishedStack(_gemma(), 8192, "Gemma Team 2024"),
    "DeepSeek-V3": PublishedStack((latent_layer(512, 64),) * 61, 131_072, "DeepSeek-AI 2024"),
    "Jamba": PublishedStack(_jamba(), 262_144, "Lieber et al. 2024"),
    "StripedHyena 7B": PublishedStack(_striped_hyena(), 32_768, "Together AI 2023"),
}
"""By name; numbers of heads, windows and states as in the reports and their configurations."""

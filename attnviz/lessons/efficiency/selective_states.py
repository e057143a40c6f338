"""Selective states of a hybrid model as matrices from input tokens to output tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention import body_of
from attnviz.efficient.methods.state_space import implicit_matrix
from attnviz.errors import InputError
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.models import Model

__all__ = ["SelectiveStates", "selective_states"]

phrase = phrases_of("hybrid")


@dataclass(frozen=True, eq=False)
class SelectiveStates:
    """Quantities of a Mamba layer (Gu and Dao 2023) on one text, in float64.

    Attributes:
        inputs: x, [token, channel].
        steps: Δ, positive, [token, channel].
        decays: diagonal of A, negative, [channel, state].
        writes: B, [token, state].
        reads: C, [token, state].
        skips: D, [channel].
    """

    inputs: Float[Tensor, "token channel"]
    steps: Float[Tensor, "token channel"]
    decays: Float[Tensor, "channel state"]
    writes: Float[Tensor, "token state"]
    reads: Float[Tensor, "token state"]
    skips: Float[Tensor, " channel"]

    def matrix(self, channel: int) -> Float[Tensor, "token token"]:
        """Return M of y = M x + D x for one channel, lower triangular and signed."""
        return implicit_matrix(
            self.reads, self.writes, self.steps[:, channel], self.decays[channel]
        )

    def kept(self, distance: int) -> Float[Tensor, "channel state"]:
        """Return the share of the state that is left `distance` tokens later, mean over tokens."""
        elapsed = torch.cumsum(self.steps, 0)
        between = elapsed[distance:] - elapsed[: len(elapsed) - distance]  # (token, channel)
        return torch.exp(between[:, :, None] * self.decays).mean(0)


def selective_states(model: Model, ids: list[int], layer: int) -> SelectiveStates:
    """Return the quantities from which a layer computes its state on a text.

    Raises:
        InputError: the layer is none of Mamba's.
    """
    mixer: Any = getattr(body_of(model.network).layers[layer], "mamba", None)
    if mixer is None:
        raise InputError(phrase("no_states", layer=layer, model=model.info.name))
    kept: dict[str, Tensor] = {}

    def keep(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        kept["inputs"], kept["projected"] = given[0][0], output[0]

    handle = mixer.x_proj.register_forward_hook(keep)
    try:
        with torch.inference_mode():
            model.network(torch.tensor([ids], device=model.network.device), use_cache=False)
            rank, size = mixer.time_step_rank, mixer.ssm_state_size
            times, writes, reads = torch.split(kept["projected"], [rank, size, size], -1)
            steps = nn.functional.softplus(mixer.dt_proj(mixer.dt_layernorm(times)))
            parts = (kept["inputs"], steps, -torch.exp(mixer.A_log), mixer.b_layernorm(writes),
                     mixer.c_layernorm(reads), mixer.D)  # fmt: skip
            return SelectiveStates(*(part.detach().double().cpu() for part in parts))
    finally:
        handle.remove()

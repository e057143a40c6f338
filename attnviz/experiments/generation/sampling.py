"""Choice of the next token from its scores: greedy, temperature, top-k, top-p, seeded.

The scores are changed by the library's own classes, in the order in which its `generate` applies
them, so that equal settings and seeds give equal ids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from attnviz.errors import InputError

__all__ = ["Chooser", "Sampling"]


@dataclass(frozen=True)
class Sampling:
    """Settings of the choice of the next token.

    Attributes:
        sample: draw from the probabilities; False takes the likeliest token (greedy).
        temperature: divisor of the scores before the softmax; above 0. Used when sampling.
        top_k: number of the likeliest tokens to draw from; 0 for all. Used when sampling.
        top_p: smallest set of likeliest tokens whose probabilities sum to this share, above 0 and
            up to 1. Used when sampling. Source: Holtzman et al. 2020.
        repetition_penalty: divides the positive scores of tokens that occurred, and multiplies
            the negative ones; 1 changes nothing. Source: Keskar et al. 2019.
        seed: of the draws.
    """

    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that define no distribution.

        Raises:
            InputError: a number outside its range.
        """
        for name in ("temperature", "repetition_penalty"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is a number above 0, not {value}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is a share above 0 and up to 1, not {self.top_p}")
        if self.top_k < 0:
            raise InputError(f"top_k is a number of tokens, 0 for all, not {self.top_k}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the seed is a whole number from 0 to 2**63 - 1, not {self.seed}")

    def library_settings(self) -> GenerationConfig:
        """Return the same settings for the library's `generate`; seed torch before the call."""
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return GenerationConfig(
            do_sample=self.sample,
            num_beams=1,
            repetition_penalty=self.repetition_penalty,
            **(drawn if self.sample else {}),
        )


@dataclass
class Chooser:
    """Chooser of next tokens, with a random generator that continues from draw to draw."""

    sampling: Sampling
    device: torch.device
    _processors: LogitsProcessorList = field(init=False)
    _generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Build the library's processors and seed the random generator."""
        settings = self.sampling
        listed: list[object] = []
        if settings.repetition_penalty != 1:
            listed.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
        if settings.sample:
            if settings.temperature != 1:
                listed.append(TemperatureLogitsWarper(settings.temperature))
            if settings.top_k:
                listed.append(TopKLogitsWarper(settings.top_k))
            if settings.top_p < 1:
                listed.append(TopPLogitsWarper(settings.top_p))
        self._processors = LogitsProcessorList(listed)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(settings.seed)

    def probabilities(
        self, ids: Int[Tensor, "1 position"], logits: Float[Tensor, "1 word"]
    ) -> Float[Tensor, "1 word"]:
        """Return the probabilities after all settings; greedy ones are those of the scores."""
        return torch.softmax(self._processors(ids, logits.clone()), dim=-1)

    def choose(self, probabilities: Float[Tensor, "1 word"]) -> int:
        """Return the id of the likeliest token, or of a drawn one."""
        if not self.sampling.sample:
            return int(probabilities.argmax())
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def skip(self, draws: int, words: int) -> None:
        """Advance the random generator by some draws from a vocabulary of `words` tokens.

        The number of random numbers behind a draw depends on the size of the vocabulary alone.
        """
        even = torch.ones(1, words, device=self.device)
        for _ in range(draws if self.sampling.sample else 0):
            torch.multinomial(even, 1, generator=self._generator)

"""Hiding tokens for a model to guess, as BERT was trained (Devlin et al. 2019)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PAD, UNKNOWN, BEGIN, SEPARATOR, MASK = range(5)
SPECIALS = 5
IGNORED = -100


@dataclass(frozen=True)
class MaskedBatch:
    """Inputs of the model and the tokens it must guess, each [row, position]."""

    ids: Tensor
    types: Tensor
    attention: Tensor
    targets: Tensor  # the hidden token, or IGNORED

    def to(self, device: torch.device) -> "MaskedBatch":
        """Return the batch on a device."""
        return MaskedBatch(*(part.to(device) for part in vars(self).values()))


def join(first: list[int], second: list[int] | None, length: int) -> tuple[list[int], list[int]]:
    """Return [CLS] first [SEP] (second [SEP]) cut to `length` tokens, and the token types."""
    if second is None:
        ids = [BEGIN, *first[: length - 2], SEPARATOR]
        return ids, [0] * len(ids)
    first = first[: (length - 3) * 2 // 3]
    second = second[: length - 3 - len(first)]
    ids = [BEGIN, *first, SEPARATOR, *second, SEPARATOR]
    return ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)


def hide(
    random: np.random.Generator,
    rows: list[tuple[list[int], list[int]]],
    vocabulary: int,
    share: tuple[float, float] = (0.15, 0.15),
) -> MaskedBatch:
    """Pad rows of (ids, types) and hide a share of the tokens of either sentence.

    Of the chosen tokens 80% become [MASK], 10% a random token and 10% stay, so that the model
    has to form a view of every word, not only of the mask.
    """
    width = max(len(ids) for ids, _ in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    types = np.zeros_like(ids)
    for row, (row_ids, row_types) in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        types[row, : len(row_types)] = row_types
    chosen = (random.random(ids.shape) < np.asarray(share)[types]) & (ids >= SPECIALS)
    targets = np.where(chosen, ids, IGNORED)
    fate = random.random(ids.shape)
    strangers = random.integers(SPECIALS, vocabulary, ids.shape)
    seen = np.where(chosen & (fate < 0.8), MASK, ids)
    seen = np.where(chosen & (fate >= 0.9), strangers, seen)
    attention = (ids != PAD).astype(np.int64)
    return MaskedBatch(*(torch.from_numpy(part) for part in (seen, types, attention, targets)))

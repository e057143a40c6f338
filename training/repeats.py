"""Random tokens that repeat: a text whose second copy only attention can predict."""

import numpy as np
import torch
from torch import Tensor

BEGIN_ID = 0


def draw_repeats(
    random: np.random.Generator, rows: int, length: int, periods: tuple[int, int], vocabulary: int
) -> tuple[Tensor, Tensor]:
    """Return rows of the begin token and a random segment that repeats until they are full.

    Returns the ids and a mask of the tokens that a look at the first copy predicts, both
    [row, position].
    """
    ids = np.zeros((rows, length), dtype=np.int64)
    predictable = np.zeros((rows, length), dtype=bool)
    for row in range(rows):
        period = int(random.integers(periods[0], periods[1] + 1))
        segment = random.integers(1, vocabulary, period)
        ids[row, 1:] = np.tile(segment, length // period + 1)[: length - 1]
        predictable[row, period + 2 :] = True
    return torch.from_numpy(ids), torch.from_numpy(predictable)


def two_copies(seed: int, rows: int, period: int, vocabulary: int) -> Tensor:
    """Return rows of the begin token, a random segment, and the same segment again."""
    random = np.random.default_rng(seed)
    segment = random.integers(1, vocabulary, (rows, period))
    begin = np.full((rows, 1), BEGIN_ID)
    return torch.from_numpy(np.concatenate([begin, segment, segment], axis=1))

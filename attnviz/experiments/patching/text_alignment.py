"""Alignment of two rows of tokens: which token of one has which partner in the other.

Partners are the longest common subsequence of the tokens. Between two partners stand tokens without
one; where both texts have as many of them, they are partners in their order, as a replaced word is.
Tokens that the user marks are partners in any case, and so are the last ones, behind which a
decoder predicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from attnviz.errors import InputError

__all__ = ["Alignment", "Partners", "align"]

Partners = tuple[int, int]
"""Position in the clean text, and in the corrupted one."""


@dataclass(frozen=True)
class Alignment:
    """Tokens of two texts that are partners, in the order of both texts.

    Attributes:
        pairs: positions of partners.
        counts: numbers of tokens of the clean text and of the corrupted one.
    """

    pairs: tuple[Partners, ...]
    counts: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Return whether every token of both texts has a partner."""
        return self.counts == (len(self.pairs), len(self.pairs))

    @property
    def clean(self) -> list[int]:
        """Return the positions of the clean text with a partner."""
        return [one for one, _ in self.pairs]

    @property
    def corrupted(self) -> list[int]:
        """Return the positions of the corrupted text with a partner, in the order of `clean`."""
        return [other for _, other in self.pairs]

    def alone(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the positions without a partner, of the clean text and of the corrupted one."""
        known = (set(self.clean), set(self.corrupted))
        first, second = (
            tuple(at for at in range(count) if at not in partners)
            for count, partners in zip(self.counts, known, strict=True)
        )
        return first, second

    def partner(self, position: int) -> int | None:
        """Return the partner of a position of the clean text; None if it has none."""
        return dict(self.pairs).get(position)


@lru_cache(maxsize=64)
def align(
    clean: tuple[int, ...], corrupted: tuple[int, ...], marks: tuple[Partners, ...] = ()
) -> Alignment:
    """Return the alignment of two rows of token ids.

    Rows of equal length are aligned position by position, unless tokens are marked.

    Args:
        clean: ids of the clean text.
        corrupted: ids of the corrupted one.
        marks: positions that are partners in any case.

    Raises:
        InputError: a marked position does not exist, or the marks are not in the same order in
            both texts.
    """
    counts = (len(clean), len(corrupted))
    if len(clean) == len(corrupted) and not marks:
        return Alignment(tuple((at, at) for at in range(len(clean))), counts)
    anchors = _anchors(counts, marks)
    pairs: list[Partners] = []
    begin = (0, 0)
    for end in (*anchors, counts):
        pairs += _between(clean, corrupted, begin, end)
        if end != counts:
            pairs.append(end)
        begin = (end[0] + 1, end[1] + 1)
    return Alignment(tuple(pairs), counts)


def _anchors(counts: Partners, marks: Sequence[Partners]) -> list[Partners]:
    """Return the marks in their order, and the last tokens unless a mark takes one of them."""
    anchors = sorted(set(marks))
    for one, other in anchors:
        if not (0 <= one < counts[0] and 0 <= other < counts[1]):
            raise InputError(
                f"there is no pair of tokens {one} and {other}: the texts have {counts[0]} and "
                f"{counts[1]} tokens"
            )
    for first, second in pairwise(anchors):
        if not (first[0] < second[0] and first[1] < second[1]):
            raise InputError(
                f"marked tokens must be in the same order in both texts: {first[0]} belongs to "
                f"{first[1]} and {second[0]} to {second[1]}"
            )
    last = (counts[0] - 1, counts[1] - 1)
    if min(last) >= 0 and all(one < last[0] and other < last[1] for one, other in anchors):
        anchors.append(last)
    return anchors


def _between(
    clean: Sequence[int], corrupted: Sequence[int], begin: Partners, end: Partners
) -> Iterator[Partners]:
    """Yield the partners of two stretches: common tokens, and replaced ones between them."""
    common = _common(clean[begin[0] : end[0]], corrupted[begin[1] : end[1]])
    one, other = begin
    for stop in (*((begin[0] + i, begin[1] + j) for i, j in common), end):
        if stop[0] - one == stop[1] - other:  # as many tokens: replaced ones
            yield from zip(range(one, stop[0]), range(other, stop[1]), strict=True)
        if stop != end:
            yield stop
        one, other = stop[0] + 1, stop[1] + 1


def _common(clean: Sequence[int], corrupted: Sequence[int]) -> list[Partners]:
    """Return the positions of a longest common subsequence."""
    rows, columns = len(clean), len(corrupted)
    length = [[0] * (columns + 1) for _ in range(rows + 1)]  # of what follows both positions
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            length[i][j] = (
                length[i + 1][j + 1] + 1
                if clean[i] == corrupted[j]
                else max(length[i + 1][j], length[i][j + 1])
            )
    pairs: list[Partners] = []
    i = j = 0
    while i < rows and j < columns:
        if clean[i] == corrupted[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs

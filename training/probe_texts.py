"""Small texts that every model is measured with, written before training."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "probes"


@dataclass(frozen=True)
class Aligned:
    """Translated pair whose content words were aligned by hand, French word to English word."""

    english: str
    french: str
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Judged:
    """Sentence, its translation by the shipped model, and the judgement of a reader."""

    english: str
    translation: str
    acceptable: bool


def rows(name: str) -> list[list[str]]:
    """Return the rows of a tab-separated file, without its header."""
    lines = (FOLDER / name).read_text(encoding="utf8").splitlines()[1:]
    return [line.split("\t") for line in lines]


def texts() -> list[str]:
    """Return eight short paragraphs of plain English."""
    return (FOLDER / "texts.txt").read_text(encoding="utf8").splitlines()


def pairs() -> list[tuple[str, str]]:
    """Return sentence pairs that share words in different places."""
    return [(first, second) for first, second in rows("pairs.tsv")]


def cloze() -> list[tuple[str, frozenset[str]]]:
    """Return sentences with one [MASK] and the words that fit there."""
    return [(sentence, frozenset(accepted.split())) for sentence, accepted in rows("cloze.tsv")]


def alignments() -> list[Aligned]:
    """Return pairs with their hand alignments."""
    return [
        Aligned(english, french, tuple(_pair(link) for link in links.split()))
        for english, french, links in rows("alignments.tsv")
    ]


def judgements() -> list[Judged]:
    """Return the translations that a reader has judged."""
    return [
        Judged(english, translation, verdict == "yes")
        for english, translation, verdict in rows("judged.tsv")
    ]


def _pair(link: str) -> tuple[str, str]:
    french, english = link.split("=")
    return french, english

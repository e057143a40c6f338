"""Texts that the classroom models learn from, read from a folder that the caller names.

The folder is laid out as `training/README.md` describes. Nothing here downloads: a class server
without internet must be able to repeat the training from a copied folder.
"""

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ENVIRONMENT_VARIABLE = "ATTNVIZ_DATA"
DOCUMENT_END = "<|endofdoc|>"
SENTENCE_END = re.compile(r"(?<=[.!?\"])\s+")


class CorpusNotFoundError(FileNotFoundError):
    """Missing file of the corpora in the named folder."""


@dataclass(frozen=True)
class Corpus:
    """Folder with the stories, the everyday sentences and the translated pairs."""

    folder: Path

    @classmethod
    def find(cls, folder: Path | None) -> "Corpus":
        """Take the folder given, or the one named by the environment."""
        named = folder or os.environ.get(ENVIRONMENT_VARIABLE)
        if not named:
            raise CorpusNotFoundError(
                f"no folder with the corpora was named: pass --data DIR or set "
                f"{ENVIRONMENT_VARIABLE} (training/README.md says what belongs there)"
            )
        return cls(Path(named))

    def path(self, name: str) -> Path:
        """Return the path of a file of the folder; raise an error if it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise CorpusNotFoundError(
                f"{name} is missing from {self.folder}: training/README.md says where to get it"
            )
        return path

    def documents(self, split: str) -> list[str]:
        """Return stories and books, each one string with a paragraph per line."""
        text = self.path(f"lm-mix/{split}.txt").read_text(encoding="utf8")
        return [part for part in (piece.strip() for piece in text.split(DOCUMENT_END)) if part]

    def sentences(self, split: str) -> list[str]:
        """Return short everyday sentences, in no order."""
        text = self.path(f"lm-mix/sentences.{split}.txt").read_text(encoding="utf8")
        return [line for line in text.splitlines() if line]

    def pairs(self, split: str) -> list[tuple[str, str]]:
        """Return English sentences with a French translation each; sentences may repeat."""
        lines = self.path(f"tatoeba-eng-fra/{split}.tsv").read_text(encoding="utf8").splitlines()
        return [(english, french) for english, french in (line.split("\t")[:2] for line in lines)]

    def paraphrases(self, split: str) -> list[tuple[str, str]]:
        """Return pairs of different English sentences that share a French translation."""
        by_french: dict[str, list[str]] = {}
        for english, french in self.pairs(split):
            by_french.setdefault(french, []).append(english)
        return [
            (first, second) for group in by_french.values() for first, second in pairwise(group)
        ]


def split_sentences(document: str) -> list[str]:
    """Cut a document after full stops, question and exclamation marks and closing quotes."""
    return [
        sentence
        for paragraph in document.splitlines()
        for sentence in SENTENCE_END.split(paragraph.strip())
        if sentence
    ]

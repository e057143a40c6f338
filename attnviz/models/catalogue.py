"""The models that come with the package: found without a network, loaded like any other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from attnviz.errors import ModelError
from attnviz.types import Family, Head, KnownHead

__all__ = ["CLASSROOM", "Shipped", "known_heads", "shipped"]

FOLDER = Path(__file__).parent / "classroom"


@dataclass(frozen=True)
class Shipped:
    """A model in the package.

    Attributes:
        name: what `attnviz.load` takes.
        title: what it does, in a few words.
        family: encoder, decoder or both.
        prompt: what the model was trained to see before a text ("translate English to French: ").
    """

    name: str
    title: str
    family: Family
    prompt: str = ""

    @property
    def folder(self) -> Path:
        """Where its weights, tokenizer and card lie."""
        return FOLDER / self.name


CLASSROOM: tuple[Shipped, ...] = (
    Shipped("gpt-classroom", "writes stories", "decoder"),
    Shipped("bert-classroom", "fills gaps", "encoder"),
    Shipped(
        "t5-classroom",
        "English to French",
        "encoder-decoder",
        prompt="translate English to French: ",
    ),
)


def shipped(name: str) -> Shipped | None:
    """The shipped model of that name, if there is one."""
    return next((model for model in CLASSROOM if model.name == name), None)


def known_heads(folder: Path) -> tuple[KnownHead, ...]:
    """The heads that a model's `heads.json` names, best first; none without that file.

    Raises:
        ModelError: the file is no list of heads.
    """
    path = folder / "heads.json"
    if not path.is_file():
        return ()
    try:
        return tuple(
            KnownHead(
                Head(one["kind"], int(one["layer"]), int(one["head"])),
                str(one["role"]),
                str(one["label"]),
                float(one["score"]),
            )
            for one in json.loads(path.read_text(encoding="utf-8"))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the heads.json of '{folder.name}' is no list of heads, each with kind, layer, head, "
            "role, label and score"
        ) from error

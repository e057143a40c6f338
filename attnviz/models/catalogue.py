"""Classroom models in the package: found without a network, loaded like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnviz.characters import shortened
from attnviz.errors import ModelError
from attnviz.models.folders.json_files import read_json
from attnviz.types import Family, Head, Kind, KnownHead

__all__ = ["CLASSROOM", "Shipped", "fine_tuned", "known_heads", "shipped"]

FOLDER = Path(__file__).parent / "classroom"


@dataclass(frozen=True)
class Shipped:
    """Model in the package.

    Attributes:
        name: what `attnviz.load` takes.
        title: what it does, in a few words.
        family: encoder, decoder or both.
        prompt: what the model was trained to see before a text ("translate English to French: ").
        base: name of the shipped model that it was fine-tuned from; empty for the others.
    """

    name: str
    title: str
    family: Family
    prompt: str = ""
    base: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder with weights, tokenizer and card."""
        return FOLDER / self.name


CLASSROOM: tuple[Shipped, ...] = (
    Shipped("gpt-classroom", "writes stories", "decoder"),
    Shipped("llama-classroom", "writes stories with parts of Llama and Mistral", "decoder"),
    Shipped("hybrid-classroom", "writes stories with state spaces and attention", "decoder"),
    Shipped("bert-classroom", "fills gaps", "encoder"),
    Shipped(
        "t5-classroom",
        "English to French",
        "encoder-decoder",
        prompt="translate English to French: ",
    ),
    Shipped(
        "french-classroom",
        "gpt-classroom after fine-tuning on French sentences",
        "decoder",
        base="gpt-classroom",
    ),
)


def fine_tuned(name: str) -> str:
    """Return the first shipped model that was fine-tuned from the model of that name, or ""."""
    return next((model.name for model in CLASSROOM if model.base == name), "")


def shipped(name: str) -> Shipped | None:
    """Return the shipped model of that name, or None."""
    return next((model for model in CLASSROOM if model.name == name), None)


def known_heads(folder: Path, heads: Mapping[Kind, tuple[int, int]]) -> tuple[KnownHead, ...]:
    """Return the heads that a model's `heads.json` names, best first; none without that file.

    Args:
        folder: of the model.
        heads: (layers, heads) per kind, of the model itself.

    Raises:
        ModelError: the file is no list of heads of this model.
    """
    path = folder / "heads.json"
    if not path.is_file():
        return ()
    try:
        listed = tuple(
            KnownHead(
                Head(one["kind"], int(one["layer"]), int(one["head"])),
                str(one["role"]),
                str(one["label"]),
                float(one["score"]),
            )
            for one in read_json(path)
        )
        known = [_exists(one.head, heads) for one in listed]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(
            f"the heads.json of '{folder.name}' is no list of heads, each with kind, layer, head, "
            "role, label and score"
        ) from error
    if not all(known):
        missing = listed[known.index(False)].head
        raise ModelError(
            f"the heads.json of '{folder.name}' names layer {missing.layer}, head {missing.head} "
            f"of kind '{shortened(missing.kind)}', which the model does not have; correct or "
            "remove the file"
        )
    return listed


def _exists(head: Head, heads: Mapping[Kind, tuple[int, int]]) -> bool:
    layers, width = heads.get(head.kind, (0, 0))
    return 0 <= head.layer < layers and 0 <= head.head < width

"""Folders of PEFT adapters (LoRA and relatives): their base model, and loading one into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import is_peft_available

from attnviz.characters import shortened
from attnviz.errors import ModelError, ModelNotFound, ModelNotSupported, ModelUnsafe
from attnviz.models.folders.damaged_files import check_intact
from attnviz.models.folders.json_files import read_object
from attnviz.models.folders.model_names import local_folder
from attnviz.models.folders.other_folders import ADAPTER
from attnviz.models.folders.weight_mismatch import check_shapes

__all__ = ["NO_ADAPTER", "Adapter", "adapter_in", "insert"]

WEIGHTS = "adapter_model.safetensors"
INSIDE = {
    "LORA",
    "ADALORA",
    "LOHA",
    "LOKR",
    "IA3",
    "OFT",
    "BOFT",
    "VERA",
    "HRA",
    "RANDLORA",
    "BONE",
}
"""Kinds of adapters that change layers. The others put learned positions before the text."""

LANGUAGE = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")
NO_ADAPTER = {"subfolder": "no adapter"}
"""Option that keeps the library from inserting an adapter that lies beside the base."""


@dataclass(frozen=True)
class Adapter:
    """Adapter beside its base model, or for a base model elsewhere.

    Attributes:
        folder: where its files are.
        base: name of its base model; None where that is in the same folder.
        base_folder: folder of the base; None where it is on the hub.
        revision: of a base on the hub.
        predicts: whether it was trained together with a language head.
        has_tokenizer: whether a tokenizer is saved beside it.
    """

    folder: Path
    base: str | None
    base_folder: Path | None
    revision: str | None
    predicts: bool
    has_tokenizer: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the file of the adapter's weights."""
        return (self.folder / WEIGHTS,)

    def title(self, name: str) -> str:
        """Return a title that names the base and the adapter."""
        return (
            f"{name} (adapter on {'the model in its folder' if self.base is None else self.base})"
        )


def adapter_in(folder: Path, name: str, allowed: Sequence[str | Path] | None) -> Adapter | None:
    """Return the adapter in a folder; None if there is none.

    Args:
        folder: resolved path.
        name: the model's name in messages.
        allowed: folders that the base may be in; None for everywhere.

    Raises:
        ModelNotSupported: the package peft is missing, or a kind of adapter that attnviz cannot
            show.
        ModelUnsafe: its weights are pickled, or its settings name a package to be imported.
        ModelNotFound: its weights or its base are missing.
        ModelNotAllowed: its base is outside the allowed folders.
    """
    if not (folder / ADAPTER).exists():
        return None
    settings = read_object(folder / ADAPTER)
    base = settings.get("base_model_name_or_path")
    revision = settings.get("revision")
    both = (folder / "config.json").exists()
    _check_kind(settings.get("peft_type"), name)
    if settings.get("megatron_config"):
        raise ModelUnsafe(
            f"the {ADAPTER} of '{name}' names a Python package to be imported (megatron_config), "
            "which attnviz does not do; take the entry out if the adapter works without it"
        )
    if not is_peft_available():
        beside = "beside a model" if both else f"for the model '{shortened(base)}'"
        raise ModelNotSupported(
            f"'{name}' holds an adapter ({ADAPTER}) {beside}, and loading it needs the package "
            "peft: pip install peft. To see the base model without it, give a folder that holds "
            "the base model alone"
        )
    _check_weights(folder, name)
    base_folder = None if both else _base_folder(base, name, allowed)
    return Adapter(
        folder=folder,
        base=None if both else str(base),
        base_folder=base_folder,
        revision=None if both or not isinstance(revision, str) else revision,
        predicts=settings.get("task_type") in LANGUAGE,
        has_tokenizer=(folder / "tokenizer_config.json").exists(),
    )


def _check_kind(kind: object, name: str) -> None:
    if kind not in INSIDE:
        raise ModelNotSupported(
            f"'{name}' holds an adapter of the kind {shortened(kind)}, which attnviz cannot show; "
            "it shows adapters inside the layers, such as LoRA"
        )


def _check_weights(folder: Path, name: str) -> None:
    if (folder / WEIGHTS).is_file():
        check_intact([folder / WEIGHTS], name)
    elif (folder / "adapter_model.bin").exists():
        raise ModelUnsafe(
            f"the adapter of '{name}' is a pickle (adapter_model.bin): reading it could run code. "
            "Where you trust it, save it again with safe_serialization=True"
        )
    else:
        raise ModelNotFound(
            f"'{name}' has an {ADAPTER} but no {WEIGHTS}; copy it into the folder, or take the "
            f"{ADAPTER} out to see the base model alone"
        )


def _base_folder(base: object, name: str, allowed: Sequence[str | Path] | None) -> Path | None:
    if not isinstance(base, str) or not base.strip():
        raise ModelNotFound(
            f"the {ADAPTER} of '{name}' names no base model; set base_model_name_or_path to its "
            "folder or hub name"
        )
    try:
        return local_folder(base, allowed)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"'{name}' is an adapter for '{shortened(base)}', which is not there ({error}); set "
            f"base_model_name_or_path in its {ADAPTER} to the base model's folder or hub name"
        ) from error


def insert(network: PreTrainedModel, adapter: Adapter, name: str) -> None:
    """Insert an adapter into the layers of its base model.

    Raises:
        ModelError: none of its weights, or only some, fit the base.
    """
    loaded = network.load_adapter(str(adapter.folder), ignore_mismatched_sizes=True)
    with safe_open(adapter.folder / WEIGHTS, framework="pt") as opened:
        held = set(opened.keys())
    check_shapes(loaded.mismatched_keys, f"the adapter weights of '{name}'", ADAPTER)
    lost = sorted(loaded.missing_keys) or ([] if held else ["all of them"])
    if lost:
        raise ModelError(
            f"the adapter of '{name}' does not fit its base model: {shortened(lost[0])} is missing "
            "from its weights; use the base model that it was trained on"
        )

"""Errors of the library and the hub, as sentences with a next step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from attnviz.characters import shortened
from attnviz.errors import (
    ModelError,
    ModelNotAllowed,
    ModelNotFound,
    ModelNotSupported,
    ModelOffline,
    ModelUnsafe,
)
from attnviz.models.tokenizers.tokenizer_errors import is_panic

__all__ = ["Explained", "without_safetensors"]


def without_safetensors(name: str) -> ModelUnsafe:
    """Return the error for a model of the hub that has pickles only."""
    return ModelUnsafe(
        f"'{name}' offers no safetensors weights; attnviz does not unpickle strangers' "
        "files. Many models have a safetensors revision: pass it as `revision`"
    )


class Explained:
    """Turns the library's many ways of failing to load into sentences with a next step."""

    def __init__(self, name: str, revision: str | None, local: bool) -> None:
        self.name = name
        self.revision = revision
        self.local = local

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, ModelError):
            return
        if not isinstance(error, Exception) and not is_panic(error):
            return
        raise self._explain(error) from error

    def _explain(self, error: BaseException) -> ModelError:
        name = self.name
        causes = list(_causes(error))
        known = next((cause for cause in causes if isinstance(cause, ModelError)), None)
        if known is not None:  # the library has wrapped it: a load that was cancelled
            return known

        def caused_by(*types: type[BaseException]) -> bool:
            return any(isinstance(cause, types) for cause in causes)

        text = " ".join(str(cause) for cause in causes)
        if caused_by(GatedRepoError):
            return ModelNotAllowed(
                f"'{name}' is gated: its owners grant access one by one. Ask for it on the "
                "model's page and log in with `hf auth login` on this machine"
            )
        if caused_by(RevisionNotFoundError):
            return ModelNotFound(f"'{name}' has no revision '{self.revision}'")
        if caused_by(RepositoryNotFoundError):
            return ModelNotFound(
                f"there is no model '{name}' on the hub (or it is private); check the spelling: "
                "org/model"
            )
        if caused_by(HFValidationError):
            return ModelNotFound(
                f"'{name}' is neither a listed model, nor a folder, nor a hub name (org/model)"
            )
        if "safetensors" in text and ("does not appear to have" in text or "no file" in text):
            return without_safetensors(name)
        if "trust_remote_code" in text:
            return ModelNotSupported(
                f"'{name}' comes with code, which attnviz does not run; choose a model of "
                "an architecture the library knows"
            )
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        unreachable = caused_by(OfflineModeIsEnabled, LocalEntryNotFoundError) or any(
            # By name: which library sends requests to the hub changes with its version.
            base.__name__ in ("ConnectionError", "TransportError", "Timeout", "TimeoutError")
            for cause in causes
            for base in type(cause).__mro__
        )
        if not self.local and (unreachable or offline or "couldn't connect" in text.lower()):
            return ModelOffline(
                f"'{name}' is not on this machine and the hub cannot be reached. The classroom "
                "models need no network; or give a local folder"
            )
        if isinstance(error, (ValueError, KeyError)) and "model type" in text:
            return ModelNotSupported(f"the architecture of '{name}' is unknown to the library")
        if "backend tokenizer" in text:
            return ModelNotFound(
                f"'{name}' comes without a tokenizer that can be read: expected a tokenizer.json "
                "beside its config.json, as `tokenizer.save_pretrained(folder)` writes it; a "
                "folder with a *.model file alone needs the package sentencepiece"
            )
        if "tiktoken" in text:  # the library names it whenever it cannot read a SentencePiece file
            return ModelError(
                f"the tokenizer of '{name}' cannot be read: its *.model file is damaged, or is a "
                "file of tiktoken (pip install tiktoken); download the file again"
            )
        # Whatever else a stranger's files make the library stumble over.
        text = str(error).split("Exception raised from")[0]  # then come frames of compiled code
        reason = " ".join(text.split()) or type(error).__name__
        return ModelError(f"'{name}' could not be loaded: {shortened(reason, 200)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__

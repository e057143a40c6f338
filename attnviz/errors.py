"""What attnviz raises.

    AttnvizError
    ├── InputError              the text or an argument cannot be used
    │   ├── EmptyText           nothing to look at
    │   └── TextTooLong         more tokens than the model has positions
    ├── ModelError              the model cannot be used
    │   ├── ModelNotFound       no such model, folder or revision
    │   ├── ModelNotAllowed     gated, or a path outside the allowed folders
    │   ├── ModelOffline        needs the hub, and the hub cannot be reached
    │   ├── ModelUnsafe         only weights that would have to be unpickled
    │   ├── LoadCancelled       the caller no longer wants the model
    │   └── ModelNotSupported   its attention cannot be instrumented
    └── CaptureError            what was asked for was not kept, or has another shape

Each message says what was got, what was expected, and what to do. Only `attnviz.ui` turns one
into a message on the screen; any other exception is a bug.
"""

from __future__ import annotations

__all__ = [
    "AttnvizError",
    "CaptureError",
    "EmptyText",
    "InputError",
    "LoadCancelled",
    "ModelError",
    "ModelNotAllowed",
    "ModelNotFound",
    "ModelNotSupported",
    "ModelOffline",
    "ModelUnsafe",
    "TextTooLong",
]


class AttnvizError(Exception):
    """The family: catch this to catch everything attnviz says about its input."""


class InputError(AttnvizError):
    """The text or an argument cannot be used."""


class EmptyText(InputError):
    """There is nothing to look at."""


class TextTooLong(InputError):
    """The text has more tokens than the model has positions.

    Attributes:
        tokens: how many tokens the text has, special tokens included.
        limit: how many the model takes.
    """

    def __init__(self, message: str, *, tokens: int, limit: int) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


class ModelError(AttnvizError):
    """The model cannot be used."""


class ModelNotFound(ModelError):
    """No such model, folder or revision."""


class ModelNotAllowed(ModelError):
    """The model is gated, or its folder lies outside the allowed ones."""


class ModelOffline(ModelError):
    """The model would have to be fetched, and the hub cannot be reached."""


class ModelUnsafe(ModelError):
    """The model offers no safetensors weights; unpickling a stranger's file runs its code."""


class ModelNotSupported(ModelError):
    """The model's attention does not go through the library's attention interface."""


class LoadCancelled(ModelError):
    """The caller cancelled the load, or left before it finished."""


class CaptureError(AttnvizError):
    """What was asked of a capture was not kept in it, or has another shape."""

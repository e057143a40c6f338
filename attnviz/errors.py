"""Exceptions of attnviz.

    AttnvizError
    ├── InputError              the text or an argument cannot be used
    │   ├── EmptyText           the text is empty
    │   └── TextTooLong         more tokens than the model has positions
    ├── ModelError              the model cannot be used
    │   ├── ModelNotFound       no such model, folder or revision
    │   ├── ModelNotAllowed     gated, or a path outside the allowed folders
    │   ├── ModelOffline        needs the hub, and the hub cannot be reached
    │   ├── ModelUnsafe         only weights that would have to be unpickled
    │   ├── LoadCancelled       the caller cancelled the load
    │   └── ModelNotSupported   its attention cannot be instrumented
    └── CaptureError            the capture has no such numbers, or they have another shape

Each message has the value that was received, what is valid, and what to do. `attnviz.ui` shows
these messages on the screen; any other exception is a bug.
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
    """Base class of all exceptions that attnviz raises about its input."""


class InputError(AttnvizError):
    """Unusable text or argument."""


class EmptyText(InputError):
    """Empty text, or white space only."""


class TextTooLong(InputError):
    """Text with more tokens than the model has positions.

    Attributes:
        tokens: number of tokens of the text, special tokens included.
        limit: maximum of the model.
    """

    def __init__(self, message: str, *, tokens: int, limit: int) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


class ModelError(AttnvizError):
    """Unusable model."""


class ModelNotFound(ModelError):
    """No such model, folder or revision."""


class ModelNotAllowed(ModelError):
    """Gated model, or model in a folder outside the allowed ones."""


class ModelOffline(ModelError):
    """Model that is not on this machine, while the hub cannot be reached."""


class ModelUnsafe(ModelError):
    """Model without safetensors weights; unpickling a file can run code from it."""


class ModelNotSupported(ModelError):
    """Model whose attention does not use the library's attention interface."""


class LoadCancelled(ModelError):
    """Load that the caller cancelled before it finished."""


class CaptureError(AttnvizError):
    """Numbers that the capture does not contain, or that have another shape."""

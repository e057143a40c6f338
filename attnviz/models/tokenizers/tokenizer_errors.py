"""Errors of the library's tokenizers, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attnviz.characters import shortened
from attnviz.errors import AttnvizError, InputError

__all__ = ["is_panic", "tokenizing"]


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of Rust code; its class cannot be imported."""
    return type(error).__name__ == "PanicException"


@contextmanager
def tokenizing(name: str) -> Iterator[None]:
    """Run calls of a tokenizer; whatever it raises becomes an InputError.

    A panic of its Rust code is no Exception, and would pass every handler for one.

    Args:
        name: what messages call the model.
    """
    try:
        yield
    except AttnvizError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = shortened(next(iter(str(error).splitlines()), "") or type(error).__name__, 160)
        raise InputError(
            f"the tokenizer of {name} failed on this text ({reason}); change the text, or take the "
            "tokenizer from the model's original source"
        ) from error

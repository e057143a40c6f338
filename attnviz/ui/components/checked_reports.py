"""Checked reading of what components report: any program can send any JSON in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["first_item", "index", "record"]


def record(value: object, *path: str) -> Mapping[str, Any]:
    """Return the record at a path of fields; empty where a step of the path is no record."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def first_item(value: object) -> object:
    """Return the first item of a list; None of an empty list and of anything else."""
    return (
        value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else None
    )


def index(value: object, count: int) -> int | None:
    """Return a whole number from 0 to count - 1; None of anything else, of `true` and 1.0 too."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return value
    return None

"""Scales of a map: how numbers become colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnviz.errors import InputError

__all__ = ["LINEAR", "LOGARITHMIC", "SCALES", "WITHOUT_SINKS", "Scale", "scale_named"]


@dataclass(frozen=True)
class Scale:
    """Scale of a map.

    Attributes:
        name: what functions take and links contain.
        label: how it is written.
        logarithmic: whether colours follow the logarithm of the number.
        without_sinks: whether sinks are left out of the colours.
    """

    name: str
    label: str
    logarithmic: bool = False
    without_sinks: bool = False


LINEAR = Scale("linear", "Linear")
LOGARITHMIC = Scale("log", "Logarithmic", logarithmic=True)
WITHOUT_SINKS = Scale("hide_sinks", "Without sinks", without_sinks=True)
SCALES = (LINEAR, LOGARITHMIC, WITHOUT_SINKS)


def scale_named(scale: Scale | str, among: Sequence[Scale] = SCALES) -> Scale:
    """Return the scale of this name.

    Raises:
        InputError: there is no such scale among those that are possible.
    """
    matching = [one for one in among if scale in (one, one.name)]
    if not matching:
        *first, last = (f'"{one.name}"' for one in among)
        raise InputError(f"There is no scale {scale!r}; choose {', '.join(first)} or {last}.")
    return matching[0]

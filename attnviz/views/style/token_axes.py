"""Axis of tokens: its labels, and their text on hover.

Every position is a separate category, named by its whole label and its place ("·sat (3)"), so
repeated tokens stay apart. The ticks show shortened labels through Plotly's `labelalias`. Category
axes drop labels by themselves where there is no room for all of them, at any width of the screen,
which fixed tick texts cannot do.

An alias speaks in hovers too, and there the whole name is wanted; so the cells live on a second,
invisible pair of axes without aliases, bound to the first.

Charts that are no maps have axes of numbers: `value_axis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attnviz.types import Tokens
from attnviz.views.style.safe_labels import display_width, escape_label, shorten
from attnviz.views.style.theme import Palette

__all__ = ["Axis", "labels_of", "number_axis", "token_axis", "value_axis"]


@dataclass(frozen=True)
class Axis:
    """Names and labels of the positions along one side.

    Attributes:
        names: unique and whole; what hovers say.
        labels: short; what the ticks say.
        width: letters in the widest short label.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    width: int

    def __len__(self) -> int:
        return len(self.names)

    def layout(self, *, size: int, reverse: bool = False) -> dict[str, Any]:
        """Return the settings of a Plotly axis; `size` is the labels' size in pixels."""
        return {
            **self._places(reverse),
            "labelalias": dict(zip(self.names, self.labels, strict=True)),
            "tickfont": {"size": size},
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "ticklabelstandoff": 3,
        }

    def unseen(self, partner: Literal["x", "y"], *, reverse: bool = False) -> dict[str, Any]:
        """Return the settings of the invisible axis that follows `partner` and holds the cells."""
        return {
            **self._places(reverse),
            "matches": partner,
            "overlaying": partner,
            "visible": False,
        }

    def _places(self, reverse: bool) -> dict[str, Any]:
        ends = [-0.5, len(self) - 0.5]
        return {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(self.names),
            "range": ends[::-1] if reverse else ends,
        }


def labels_of(tokens: Tokens | Sequence[str]) -> Sequence[str]:
    """Return the labels of tokens, or a list of labels as it is."""
    return tokens.labels if isinstance(tokens, Tokens) else tokens


def token_axis(tokens: Tokens | Sequence[str], *, width: int = 14, first: int = 0) -> Axis:
    """Return the axis of tokens or labels; labels wider than `width` letters are shortened.

    `first` is the position of the first one, where they are a part of a text.
    """
    whole = labels_of(tokens)
    shown = [shorten(label, width) for label in whole]
    return Axis(
        names=tuple(f"{escape_label(label)} ({at})" for at, label in enumerate(whole, first)),
        labels=tuple(escape_label(label) for label in shown),
        width=max((display_width(label) for label in shown), default=0),
    )


def number_axis(count: int, prefix: str = "") -> Axis:
    """Return the axis of `count` numbered things: layers ("L0"), heads ("H0"), dimensions."""
    names = tuple(f"{prefix}{at}" for at in range(count))
    return Axis(names=names, labels=names, width=max(map(len, names), default=0))


def value_axis(title: str, colors: Palette) -> dict[str, Any]:
    """Return the settings of an axis of numbers."""
    return {
        "title": {"text": title, "font": {"size": 12, "color": colors.muted}, "standoff": 8},
        "tickfont": {"size": 11, "color": colors.muted},
        "zeroline": False,
        "nticks": 7,
    }

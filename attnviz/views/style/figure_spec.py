"""Figure as the plain dictionaries that Plotly's library in the browser reads.

Plotly's graph objects check every property. For a map of heads that takes ten times as long as all
other work on it, so a figure of the app is checked by the tests and not again for every visitor.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseFigure

__all__ = ["PlainFigure", "Spec"]

_TYPED = {"float32": "f4", "float64": "f8", "int8": "i1", "uint8": "u1", "int16": "i2"}


@dataclass(frozen=True)
class Spec:
    """Figure's traces and layout, in the names of Plotly's reference.

    Attributes:
        data: the traces; arrays of numbers may be NumPy arrays.
        layout: the layout.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]

    def figure(self) -> go.Figure:
        """Return a graph object with every property checked.

        Raises:
            ValueError: a property does not exist, or has a value that Plotly does not accept.
        """
        return go.Figure({"data": self.data, "layout": self.layout})


class PlainFigure(BaseFigure):  # type: ignore[misc]
    """Specification in the form that `st.plotly_chart` accepts, without the checks."""

    def __init__(self, spec: Spec) -> None:
        # The constructor of the base class is left out: it makes a graph object of every part.
        self._spec = spec

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent to the browser, with arrays of numbers as bytes in base64."""
        return {
            "data": [
                {name: _typed(value) for name, value in trace.items()} for trace in self._spec.data
            ],
            "layout": self._spec.layout,
        }


def _typed(value: object) -> object:
    """Return a NumPy array in Plotly's form for typed arrays; other values as they are."""
    if not isinstance(value, np.ndarray) or value.dtype.name not in _TYPED:
        return value
    array = {
        "dtype": _TYPED[value.dtype.name],
        "bdata": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii"),
    }
    return array if value.ndim == 1 else {**array, "shape": ", ".join(map(str, value.shape))}

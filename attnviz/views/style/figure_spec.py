"""Figure as plain dictionaries, to which traces and settings are added before Plotly checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

__all__ = ["Spec"]


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

"""Strip of the layers of a model: kind, cache and receptive field of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.size_axis import size_axis
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import count, size

__all__ = ["draw_layers"]


def draw_layers(
    kinds: Sequence[str],
    sizes: Float[np.ndarray, " layer"],
    fields: Float[np.ndarray, " layer"],
    *,
    tokens: int,
    theme: Theme = "light",
    height: int = 340,
) -> go.Figure:
    """Draw a bar per layer for the tokens it can reach, and one for the bytes it keeps.

    Args:
        kinds: kind of each layer; equal kinds have one colour.
        sizes: bytes that each layer keeps.
        fields: tokens back that the layer's output can depend on, itself not counted; infinity for
            all.
        tokens: length of the text; fields are cut there.
        theme: the page's theme.
        height: of the figure, in pixels.

    Raises:
        InputError: there is not one number per layer.
    """
    if not len(kinds) == len(sizes) == len(fields):
        raise InputError(
            f"{len(kinds)} layers need as many sizes and fields, not {len(sizes)} and {len(fields)}"
        )
    colors = palette(theme)
    reach = np.minimum(fields + 1, tokens)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    for place, kind in enumerate(dict.fromkeys(kinds)):
        layers = [at for at, one in enumerate(kinds) if one == kind]
        words = ["all tokens" if reach[at] >= tokens else f"{count(reach[at])} tokens"
                 for at in layers]  # fmt: skip
        sized = [size(sizes[at]) for at in layers]
        for row, numbers in ((1, reach), (2, sizes)):
            figure.add_trace(
                go.Bar(
                    x=layers,
                    y=[float(numbers[at]) for at in layers],
                    name=escape_label(kind),
                    legendgroup=kind,
                    width=0.85,
                    showlegend=row == 1,
                    marker={
                        "color": colors.categorical[place % len(colors.categorical)],
                        "pattern": {"shape": ("", "/", ".", "x")[place % 4]},
                    },
                    customdata=list(zip(words, sized, strict=True)),
                    hovertemplate=(
                        f"<b>layer %{{x}}</b>, {escape_label(kind)}<br>reaches %{{customdata[0]}}"
                        "<br>keeps %{customdata[1]}<extra></extra>"
                    ),
                ),
                row=row,
                col=1,
            )
    apply(figure, theme)
    figure.update_yaxes(title={"text": "tokens reached"}, tickformat=",d", nticks=4, row=1, col=1)
    bytes_axis = size_axis(float(sizes.max(initial=0.0)))
    figure.update_yaxes(title={"text": "bytes kept"}, **bytes_axis, row=2, col=1)
    figure.update_xaxes(title={"text": "layer"}, row=2, col=1, showgrid=False)
    figure.update_xaxes(showgrid=False, row=1, col=1)
    return figure.update_layout(
        height=height,
        barmode="overlay",
        margin={"l": 64, "r": 12, "t": 40, "b": 44, "pad": 0},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )

"""Two small buttons that save a chart as SVG or PNG.

Plotly's modebar has one image button with one format, and its configuration is JSON here, which
can hold no second one. The browser has all that is needed: no server-side browser, no internet,
and it works where there is no mouse to hover with.
"""

from __future__ import annotations

import re

from attnviz.ui.components.served_component import ServedComponent
from attnviz.views.style.plotly_config import safe_filename
from attnviz.views.style.theme import Theme, palette

__all__ = ["picture_buttons"]

_HTML = """<div class="pictures">
  <button type="button" data-format="svg" aria-label="Save the picture as SVG">↓ SVG</button>
  <button type="button" data-format="png" aria-label="Save the picture as PNG">↓ PNG</button>
  <span class="says" role="status"></span>
</div>"""

_buttons = ServedComponent("picture_buttons", _HTML)


def picture_buttons(
    chart: str, filename: str, *, theme: Theme = "light", scale: float = 3, key: str | None = None
) -> None:
    """Show the buttons for the chart that `st.plotly_chart` drew with the key `chart`.

    Args:
        chart: the key of the chart, on the same page.
        filename: without an ending.
        theme: whose ground the file gets; figures on the screen have none.
        scale: pixels per point of the PNG.
        key: the buttons' own key; made from the chart's when None.
    """
    _buttons(
        data={
            # What Streamlit makes of a key in the page's class names.
            "chart": re.sub(r"[^a-zA-Z0-9_-]", "-", chart.strip()),
            "filename": safe_filename(filename),
            "page": palette(theme).page,
            "scale": scale,
        },
        key=key or f"{chart}:pictures",
    )

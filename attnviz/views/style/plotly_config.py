"""Settings that go with a figure to the browser: its modebar and its downloads."""

from __future__ import annotations

import re
from typing import Any, Literal

__all__ = ["CONFIG", "plot_config", "safe_filename"]


def plot_config(
    filename: str = "attnviz",
    *,
    format: Literal["svg", "png"] = "svg",
    scale: float = 2,
) -> dict[str, Any]:
    """Return Plotly's `config` for a figure: no upload button, no logo, a named download.

    Plotly's modebar has one image button and so one format; it is SVG by default.
    Both formats are offered by `attnviz.ui.components.picture_buttons`.

    Args:
        filename: without an ending; characters that file systems refuse become hyphens.
        format: what the modebar's image button saves.
        scale: pixels per point of a PNG.
    """
    return {
        "showSendToCloud": False,
        "displaylogo": False,
        "displayModeBar": "hover",
        "modeBarButtonsToRemove": ["autoScale2d", "select2d", "lasso2d"],
        "toImageButtonOptions": {
            "format": format,
            "filename": safe_filename(filename),
            "scale": scale,
        },
    }


def safe_filename(name: str) -> str:
    """Return the name with everything but letters, digits, `_`, `.` and `-` as hyphens."""
    return re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "attnviz"


CONFIG = plot_config()
"""The settings of a figure without a name."""

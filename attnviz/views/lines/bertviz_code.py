"""BertViz's drawing code, read from the installed package and fitted to the page.

The sizes and colours of its views are constants in its source. They are replaced by expressions
that the page computes from its width and its theme; the drawing stays BertViz's.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from attnviz.errors import AttnvizError

__all__ = ["View", "drawing_code"]

View = Literal["head", "model"]

_CONSTANTS: dict[View, dict[str, str]] = {
    "head": {
        "BOXWIDTH": "attnviz.tokenWidth(15, 0.3)",
        "MATRIX_WIDTH": "attnviz.width() - 2 * BOXWIDTH",
        "TEXT_TOP": "6",
    },
    "model": {
        "DIV_WIDTH": "attnviz.width()",
        "DETAIL_BOX_WIDTH": "attnviz.tokenWidth(13, 0.25)",
        "DETAIL_WIDTH": "2 * attnviz.tokenWidth(13, 0.25) + 140",
        "LAYER_COLORS": "params.colors",
    },
}
"""Constants of BertViz's source and what stands in their place."""

_TEXTS: dict[View, dict[str, str]] = {
    "head": {"d3.scaleOrdinal(d3.schemeCategory10)": "d3.scaleOrdinal(params.colors)"},
    "model": {
        "PALETTE[config.mode]": "params.palette",
        '.attr("fill", "black")': '.attr("fill", getTextColor())',
        "7 * (12 / config.totalHeads)": "attnviz.thumbnailStep()",
        "config.layers[layer] % 10": "config.layers[layer] % LAYER_COLORS.length",
    },
}
"""Other passages of BertViz's source and what stands in their place."""

_PLACE = "PYTHON_PARAMS"


def drawing_code(view: View, parameters: str) -> str:
    """Return the code of a view with its parameters, from where it starts to draw.

    What stands before only says from which addresses the libraries would be loaded.

    Args:
        view: "head" or "model".
        parameters: JSON that may stand in a script.

    Raises:
        AttnvizError: BertViz is not installed, or its source is another than is known here.
    """
    spec = find_spec("bertviz")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise AttnvizError(
            'BertViz is not installed; "pip install bertviz" adds its two views to attnviz.'
        )
    code = (Path(folders[0]) / f"{view}_view.js").read_text("utf-8")
    code = code[max(code.find("requirejs("), 0) :]
    for name, expression in _CONSTANTS[view].items():
        code, count = re.subn(rf"\bconst {name} = [^;]+;", f"const {name} = {expression};", code)
        _check(count)
    for before, after in _TEXTS[view].items():
        _check(code.count(before))
        code = code.replace(before, after)
    _check(code.count(f"const params = {_PLACE};"))
    return code.replace(_PLACE, f"attnviz.parameters({parameters})", 1)


def _check(count: int) -> None:
    """Refuse source in which a passage that is replaced does not occur."""
    if not count:
        raise AttnvizError(
            "The installed BertViz draws in another way than attnviz knows (1.4); "
            'install "bertviz>=1.4.1,<2".'
        )

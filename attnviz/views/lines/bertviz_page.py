"""BertViz's head view and model view, complete in one page: no internet, no foreign code.

BertViz (Vig 2019) writes a page that fetches require.js, d3 and jQuery from elsewhere and puts
tokens unescaped into a script. Here its drawing code gets the libraries from the page, and
the data as escaped JSON. BertViz is read, not imported: it would bring torch and IPython.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float

from attnviz.errors import CaptureError, InputError
from attnviz.types import Tokens
from attnviz.views.lines.bertviz_code import View, drawing_code
from attnviz.views.style.inline_json import content_policy, script_json
from attnviz.views.style.line_colors import line_colors
from attnviz.views.style.safe_labels import shorten
from attnviz.views.style.theme import FONT_FAMILY, Theme, palette

__all__ = ["NUMBER_LIMIT", "BertvizPart", "bertviz_html", "check_size"]

NUMBER_LIMIT = 12 * 12 * 60 * 60
"""Most weights in one page: 60 tokens of a model with 12 layers of 12 heads, about 3 MB."""

_ASSETS = Path(__file__).parent / "assets"
_VENDOR = Path(__file__).parents[2] / "vendor"
_ROOT = "attnviz-bertviz"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="{root}">
<div class="controls">{controls}</div>
<div id="vis"></div>
</div>
{scripts}
</body>
</html>
"""

_SAVE = '<button type="button" id="svg" aria-label="Save the picture as SVG">↓ SVG</button>'
_HEADS = '<span class="names"></span><button type="button" id="all">All heads</button>'

_FONT_FACE = (
    '@font-face {{ font-family: "{family}"; src: url("{address}"); font-weight: 200 900; }}'
)

_ROOM = 760
"""Height in pixels within which the small pictures of all layers are to fit."""


@dataclass(frozen=True)
class BertvizPart:
    """Kind of attention in the view's menu.

    Attributes:
        name: in the menu ("encoder", "cross").
        weights: after softmax, NaN or 0 where masked.
        query_tokens: written on the left.
        key_tokens: written on the right.
    """

    name: str
    weights: Float[np.ndarray, "layer head query key"]
    query_tokens: Tokens
    key_tokens: Tokens


def bertviz_html(
    parts: Sequence[BertvizPart],
    *,
    view: View = "head",
    layer: int | None = None,
    heads: Sequence[int] | None = None,
    only_layer: bool = False,
    theme: Theme = "light",
    filename: str = "attnviz-lines",
    font_address: str | None = None,
) -> str:
    """Return a page with BertViz's view of the weights, as wide as its window.

    A sentence pair (tokens with segments 0 and 1) adds its four parts to the menu, as in BertViz.

    Args:
        parts: one, or several for an encoder-decoder.
        view: "head" draws one layer's heads as lines between words, "model" every head small.
        layer: the layer the head view starts with.
        heads: the heads the head view starts with; all when None.
        only_layer: put only `layer` into the page, and no menu of layers.
        theme: the page's theme.
        filename: of the saved picture, without ending.
        font_address: where the server of the page has the file of `FONT_FAMILY`; the page may
            request it, and nothing else. None uses a font of the reader's machine.

    Raises:
        AttnvizError: BertViz is not installed.
        CaptureError: weights and tokens do not match.
        InputError: there is nothing to draw, too much, or no such view, layer or head.
    """
    if view not in ("head", "model"):
        raise InputError(f'There is no view {view!r}; choose "head" or "model".')
    _check(parts, layer, heads)
    layers, count = parts[0].weights.shape[:2]
    drawn = [layer or 0] if only_layer else list(range(layers))
    entries = [entry for part in parts for entry in _entries(part, drawn)]
    colors = palette(theme)
    picture_style = _styled("picture.css", theme)
    parameters = {
        "attention": entries,
        "default_filter": "0",
        "root_div_id": _ROOT,
        "layer": layer,
        "heads": None if heads is None else list(heads),
        "include_layers": drawn,
        "include_heads": list(range(count)),
        "total_heads": count,
        "view": view,
        "colors": line_colors(count if view == "head" else layers, theme),
        "palette": {
            "text": colors.text,
            "background": colors.page,
            "highlight": colors.line,
        },
        "picture_style": picture_style,
        "filename": filename,
        "room": _ROOM,
    }
    style = _styled("lines.css", theme) + picture_style
    if font_address is not None:
        style += _FONT_FACE.format(family=FONT_FAMILY.split(",")[0], address=quote(font_address))
    scripts = (
        _library("d3-5.7.0.min.js"),
        _library("jquery-3.7.1.min.js"),
        (_ASSETS / "lines.js").read_text("utf-8"),
        drawing_code(view, script_json(parameters)),
    )
    return _PAGE.format(
        policy=content_policy(scripts, [style], fonts=font_address is not None),
        title=f"BertViz {view} view",
        style=style,
        root=_ROOT,
        controls=_controls(view, only_layer, [entry["name"] for entry in entries]),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse maps of a shape (layer, head, query, key) that are too many, before making them.

    Raises:
        InputError: the page would be too slow in a browser.
    """
    _check_numbers(math.prod(shape))


def _check_numbers(numbers: int) -> None:
    if numbers > NUMBER_LIMIT:
        raise InputError(
            f"BertViz's page would hold {numbers:,} weights; up to {NUMBER_LIMIT:,} stay quick "
            "in a browser (60 tokens for 12 layers of 12 heads). Use fewer tokens or layers."
        )


def _check(parts: Sequence[BertvizPart], layer: int | None, heads: Sequence[int] | None) -> None:
    if not parts:
        raise InputError("There is nothing to draw; give at least one part.")
    for part in parts:
        sides = (len(part.query_tokens), len(part.key_tokens))
        if part.weights.ndim != 4 or part.weights.shape[2:] != sides:
            raise CaptureError(
                f"{part.name} has shape {part.weights.shape}; expected (layer, head, query, key) "
                f"with {sides[0]} queries and {sides[1]} keys."
            )
        if part.weights.shape[:2] != parts[0].weights.shape[:2]:
            raise InputError(
                f"{part.name} has {part.weights.shape[:2]} layers and heads, the first part "
                f"{parts[0].weights.shape[:2]}; BertViz draws parts of one shape."
            )
    numbers = sum(part.weights.size for part in parts)
    if not numbers:
        raise InputError("There is nothing to draw; there are no tokens, layers or heads.")
    _check_numbers(numbers)
    layers, count = parts[0].weights.shape[:2]
    if layer is not None and not 0 <= layer < layers:
        raise InputError(f"There is no layer {layer}; there are {layers}.")
    if heads is not None and not (heads and all(0 <= head < count for head in heads)):
        raise InputError(f"The heads {list(heads)} are not among the {count} heads.")


def _entries(part: BertvizPart, layers: list[int]) -> list[dict[str, Any]]:
    """Return layers of a part as BertViz takes them, and four sub-parts for a sentence pair."""
    queries = np.arange(len(part.query_tokens))
    keys = np.arange(len(part.key_tokens))
    selections = [(part.name, queries, keys)]
    segments = part.query_tokens.segments
    if (
        segments is not None
        and part.query_tokens.labels == part.key_tokens.labels
        and np.any(segments == 1)
    ):
        sides = {name: np.flatnonzero(segments == at) for at, name in enumerate("AB")}
        selections += [
            (f"Sentence {a} -> Sentence {b}", sides[a], sides[b])
            for a, b in ("AA", "BB", "AB", "BA")
        ]
    weights = np.round(np.nan_to_num(part.weights[layers].astype(np.float64)), 4)
    return [
        {
            "name": name,
            "attn": weights[:, :, rows][:, :, :, columns].tolist(),
            "left_text": [shorten(part.query_tokens.labels[at]) for at in rows],
            "right_text": [shorten(part.key_tokens.labels[at]) for at in columns],
        }
        for name, rows, columns in selections
    ]


def _controls(view: View, only_layer: bool, names: list[str]) -> str:
    """Return the menus and buttons above the drawing."""
    controls = []
    if view == "head" and not only_layer:
        controls.append('<label>Layer <select id="layer"></select></label>')
    if len(names) > 1:
        options = "".join(
            f'<option value="{at}">{escape(name)}</option>' for at, name in enumerate(names)
        )
        controls.append(f'<label>Attention <select id="filter">{options}</select></label>')
    if view == "head":
        controls.append(_HEADS)
    return "\n".join([*controls, _SAVE])


def _styled(name: str, theme: Theme) -> str:
    """Return a style sheet with the colours and the font of the theme in place of its variables."""
    colors = palette(theme)
    style = (_ASSETS / name).read_text("utf-8")
    for variable in ("page", "text", "muted", "line", "accent"):
        style = style.replace(f"var(--{variable})", getattr(colors, variable))
    return style.replace("var(--font)", FONT_FAMILY)


def _library(name: str) -> str:
    """Return a library without its first-line banner where that holds an address."""
    code = (_VENDOR / name).read_text("utf-8")
    return code.partition("\n")[2] if code.startswith("// http") else code

"""Content security policies and JSON for pages whose scripts and styles are inline."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

__all__ = ["content_policy", "script_json"]


def content_policy(
    scripts: Sequence[str], styles: Sequence[str] | None, *, fonts: bool = False
) -> str:
    """Return a content security policy that forbids all requests and all other scripts.

    Args:
        scripts: the contents of the page's script elements, exactly as they stand in the page.
        styles: likewise of its style elements; None allows every inline style, for a library that
            adds style elements at run time.
        fonts: whether fonts of the page's server may be requested.
    """
    style = "'unsafe-inline'" if styles is None else " ".join(map(_source, styles))
    font = "font-src 'self'; " if fonts else ""
    return (
        f"default-src 'none'; script-src {' '.join(map(_source, scripts))}; style-src {style}; "
        f"{font}img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def script_json(value: object) -> str:
    """Return JSON that may stand in a script: nothing in it can end one, or a line of one."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _source(code: str) -> str:
    """Return the SHA-256 of an inline script or style, as a policy names it."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return f"'sha256-{digest}'"

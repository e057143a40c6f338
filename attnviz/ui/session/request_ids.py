"""Ids of the text of a request, as experiments read them."""

from __future__ import annotations

from attnviz.models import Encoded, encode, with_target
from attnviz.ui.session.model_cache import Request, load_model

__all__ = ["EDITED_TOKENS", "request_ids"]

EDITED_TOKENS = 1024
"""Longest text in tokens that is run again with edits."""


def request_ids(request: Request) -> Encoded:
    """Return the ids of a request, cut to `EDITED_TOKENS`; a T5 writes a missing target.

    Raises:
        AttnvizError: as `attnviz.capture`.
    """
    model = load_model(request.model)
    encoded = encode(
        model,
        model.prompt + request.text if request.text.strip() else "",
        pair=request.pair or None,
        target=request.target or None,
        begin=request.begin,
        cut=True,
        limit=EDITED_TOKENS,
    )
    if encoded.target is None and model.info.family == "encoder-decoder":
        encoded = with_target(model, encoded)
    return encoded

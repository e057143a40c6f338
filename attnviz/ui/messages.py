"""attnviz's errors as messages on the screen; everything else stays an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from attnviz.errors import AttnvizError, ModelOffline
from attnviz.models import printable

__all__ = ["explained", "plain"]

ADDRESS = re.compile(r"[A-Za-z]:(?=//)|www(?=\.)|@|mailto(?=:)|xmpp(?=:)", re.IGNORECASE)
"""The places in an address behind which it can be cut so that it is none for the browser."""

WORD_JOINER = "\u2060"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: no links, pictures, formulas or colours.

    The browser makes links of web and mail addresses after Markdown has been read, escaped or not.
    An invisible word joiner inside an address prevents that.
    """
    shown = ADDRESS.sub(f"\\g<0>{WORD_JOINER}", printable(text).replace("·", " "))
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]()<>#+-.!|$~:&" else mark for mark in shown)


@contextmanager
def explained() -> Iterator[None]:
    """Run a part of a page; when attnviz refuses something, say why and end the page there."""
    try:
        yield
    except ModelOffline as error:
        st.warning(plain(str(error)), icon=":material/cloud_off:")
        st.stop()
    except AttnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.stop()

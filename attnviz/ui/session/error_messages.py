"""attnviz's errors as messages on the screen; everything else stays an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from attnviz.errors import AttnvizError, EmptyText, ModelOffline
from attnviz.ui.session.plain_text import plain

__all__ = ["explained"]


@contextmanager
def explained() -> Iterator[None]:
    """Run a part of a page; when attnviz refuses something, say why and end the page there."""
    try:
        yield
    except ModelOffline as error:
        st.warning(plain(str(error)), icon=":material/cloud_off:")
        st.stop()
    except EmptyText as error:
        message = plain(str(error))
        st.info(f"{message[:1].upper()}{message[1:]}.", icon=":material/edit:")
        st.stop()
    except AttnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.stop()

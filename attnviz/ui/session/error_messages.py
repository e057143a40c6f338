"""attnviz's errors as messages on the screen; everything else stays an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import streamlit as st

from attnviz.errors import AttnvizError, EmptyText, ModelOffline
from attnviz.sentences import sentence
from attnviz.ui.session.plain_text import plain

__all__ = ["explained", "show_or_reason", "show_reason"]

Value = TypeVar("Value")


@contextmanager
def explained() -> Iterator[None]:
    """Run a part of a page; when attnviz refuses something, say why and end the page there."""
    try:
        yield
    except ModelOffline as error:
        st.warning(plain(sentence(str(error))), icon=":material/cloud_off:")
        st.stop()
    except EmptyText as error:
        st.info(plain(sentence(str(error))), icon=":material/edit:")
        st.stop()
    except AttnvizError as error:
        st.error(plain(sentence(str(error))), icon=":material/error:")
        st.stop()


def show_reason(reason: str) -> None:
    """Show why there is nothing to see here, as a sentence in which nothing is interpreted."""
    st.info(plain(sentence(reason)), icon=":material/info:")


def show_or_reason(result: Value | str, show: Callable[[Value], None]) -> None:
    """Show a result, or the reason that stands in its place."""
    if isinstance(result, str):
        show_reason(result)
    else:
        show(result)

"""Which texts a diagnosis reads: the bundled ones, typed ones, or a file of one's own.

What a person types or uploads stays in their session: it is in no link, no log and no report.
"""

from __future__ import annotations

import streamlit as st

from attnviz.doctor.texts import TextSet, as_text_set, bundled, parse_texts
from attnviz.errors import AttnvizError, InputError
from attnviz.types import Family
from attnviz.ui.messages import plain

__all__ = ["MOST_TEXTS", "choose_texts"]

BUNDLED, TYPED, FILE = "Bundled", "Typed here", "A file"
SOURCE, UPLOADED = "diagnose_source", "diagnose_uploaded"

MOST_TEXTS = 1000
"""More take hours on the processor of a small server; the command line takes any number."""

KINDS_OF_TEXT = {
    "decoder": "stories, dialogues, lists and facts, many of which repeat a phrase",
    "encoder": "pairs of everyday sentences",
    "encoder-decoder": "short English sentences with a French translation",
}


def choose_texts(family: Family) -> TextSet | None:
    """A menu of sources; None, and a message, where there is nothing to read yet."""
    source = st.segmented_control(
        "Texts",
        [BUNDLED, TYPED, FILE],
        default=BUNDLED,
        key=SOURCE,
        required=True,
        persist_state="session",
        help="Every number of a diagnosis is a mean over texts, with an interval that says how far "
        "other texts could move it. Thirty texts are a sensible minimum.",
    )
    try:
        if source == TYPED:
            found = _typed(family)
        elif source == FILE:
            found = _file()
        else:
            found = bundled(family)
            st.caption(
                f"{len(found.texts)} texts that come with attnviz: {KINDS_OF_TEXT[family]}. Plain "
                "English; for a model of another language or subject, give texts of your own."
            )
        return None if found is None else _checked(found, family)
    except AttnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


def _typed(family: Family) -> TextSet | None:
    """A field with a text on each line."""
    target = (
        " A tab may follow, and behind it what the model is to write."
        if family == "encoder-decoder"
        else ""
    )
    typed = st.text_area(
        "A text on each line",
        key=f"diagnose_typed:{family}",
        height=160,
        persist_state="session",
        help=f"Press Ctrl+Enter, or click anywhere else, to take them.{target} They stay in this "
        "session: no link, log or report has them.",
    )
    if not typed.strip():
        st.info("Type or paste at least one text; better thirty.", icon=":material/info:")
        return None
    return parse_texts(typed.encode("utf-8", "replace"), "typed texts")


def _file() -> TextSet | None:
    """A file from the person's own disk; it is kept while they look at other pages."""
    given = st.file_uploader(
        "A file with a text on each line",
        type=["txt", "tsv", "csv", "md"],
        key="diagnose_file",
        help="UTF-8, a text on each line. It stays in this session: no link, log or report has it.",
    )
    if given is not None:
        st.session_state.pop(UPLOADED, None)  # a file that cannot be read is not the last one
        st.session_state[UPLOADED] = parse_texts(given.getvalue(), given.name)
    found: TextSet | None = st.session_state.get(UPLOADED)
    if found is None:
        st.info("Choose a text file.", icon=":material/info:")
    elif given is None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(f"Still here: {plain(found.name)}.")
        right.button(
            "Forget",
            on_click=st.session_state.pop,
            args=(UPLOADED, None),
            type="tertiary",
            help="Removes the texts of this file from the session.",
        )
    return found


def _checked(found: TextSet, family: Family) -> TextSet:
    """The set if this kind of model can read it, with a line on what it holds.

    Raises:
        InputError: too many texts, or targets for a model that writes none.
    """
    found = as_text_set(found, family)
    if len(found.texts) > MOST_TEXTS:
        raise InputError(
            f"'{found.name}' has {len(found.texts):,} texts; up to {MOST_TEXTS:,} are read here. "
            "Give a sample, or use the command line: attnviz diagnose --texts FILE"
        )
    if not found.name.startswith("bundled"):
        number = "1 text" if len(found.texts) == 1 else f"{len(found.texts):,} texts"
        notes = (plain(note[:1].upper() + note[1:]) for note in found.notes)
        st.caption(". ".join([number, *notes]) + ".")
    return found

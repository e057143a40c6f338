"""Choice of the texts of a diagnosis: bundled, typed, or from a file.

What a person types or uploads stays in their session: it is in no link, no log and no report.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import streamlit as st

from attnviz.errors import AttnvizError, InputError
from attnviz.experiments.text_sets import TextSet, as_text_set, bundled, parse_texts
from attnviz.sentences import sentence
from attnviz.types import Family
from attnviz.ui.components.choices import choice
from attnviz.ui.session.plain_text import plain, show_plain
from attnviz.views.report.summary_sentences import text_count

__all__ = ["MOST_TEXTS", "choose_texts"]

BUNDLED, TYPED, FILE = "Bundled", "Typed here", "A file"
SOURCE, UPLOADED, PARSED = "diagnose_source", "diagnose_uploaded", "diagnose_parsed"

MOST_TEXTS = 1000
"""More take hours on the processor of a small server; the command line takes any number."""

MOST_CHARACTERS = 400_000
"""Sum over all texts of a diagnosis, about 100,000 tokens; likewise."""

MOST_LINES = 20 * MOST_TEXTS
"""Lines of a file, empty and repeated ones included."""

SAMPLE = "Give a sample, or use the command line: attnviz diagnose --texts FILE"

KINDS_OF_TEXT = {
    "decoder": "stories, dialogues, lists and facts, many of which repeat a phrase",
    "encoder": "pairs of everyday sentences",
    "encoder-decoder": "short English sentences with a French translation",
}


DIAGNOSED = (
    "Measures are means over texts and costs are per token over all texts, each with an interval "
    "that shows how far other texts could move it. Thirty texts are a sensible minimum."
)


def choose_texts(
    family: Family,
    explanation: str = DIAGNOSED,
    enough: str = "30 or more give usable intervals.",
) -> TextSet | None:
    """Show a menu of sources, and return the texts; None, with a message, without any text.

    Args:
        family: of the model.
        explanation: of what the texts are for.
        enough: sentence on how many there should be.
    """
    source = choice(
        "Texts",
        [BUNDLED, TYPED, FILE],
        SOURCE,
        explanation=explanation,
    )
    try:
        if source == TYPED:
            texts = _typed(family, enough)
        elif source == FILE:
            texts = _file()
        else:
            texts = bundled(family)
            st.caption(
                f"{len(texts.texts)} texts that come with attnviz: {KINDS_OF_TEXT[family]}. Plain "
                "English; for a model of another language or subject, give texts of your own."
            )
        return None if texts is None else _checked(texts, family)
    except AttnvizError as error:
        st.error(plain(sentence(str(error))), icon=":material/error:")
        return None


def _typed(family: Family, enough: str) -> TextSet | None:
    """Show a field with a text on each line, and return the texts."""
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
        st.info(
            f"Type or paste at least one text. {enough}",
            icon=":material/info:",
        )
        return None
    return _parsed(PARSED, typed, lambda: typed.encode("utf-8", "replace"), "typed texts")


def _file() -> TextSet | None:
    """Show the upload of a file, and return its texts; they stay while other pages are shown."""
    given = st.file_uploader(
        "A file with a text on each line",
        type=["txt", "tsv", "csv", "md"],
        key="diagnose_file",
        help=f"UTF-8, a text on each line: up to {MOST_TEXTS:,} texts of {MOST_CHARACTERS:,} "
        "characters together. It stays in this session: no link, log or report has it.",
    )
    if given is not None:
        texts: TextSet | None = _parsed(UPLOADED, given.file_id, given.getvalue, given.name)
    else:
        _, last = st.session_state.get(UPLOADED, (None, None))
        texts = last if isinstance(last, TextSet) else None
    if texts is None:
        st.info("Choose a text file.", icon=":material/info:")
    elif given is None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        with left:
            show_plain(f"Still here: {texts.name}.", small=True)
        right.button(
            "Forget",
            on_click=st.session_state.pop,
            args=(UPLOADED, None),
            type="tertiary",
            help="Removes the texts of this file from the session.",
        )
    return texts


def _parsed(key: str, identity: Hashable, content: Callable[[], bytes], name: str) -> TextSet:
    """Return the texts of a field or file; they are parsed once, and not again in later runs.

    Args:
        key: where the session keeps them.
        identity: of the content; a different one is parsed anew.
        content: returns the content, in UTF-8.
        name: of the set.

    Raises:
        AttnvizError: as `parse_texts`, or there is too much of it; in every run.
    """
    last, parsed = st.session_state.get(key, (None, None))
    if parsed is None or last != identity:
        try:
            read = content()
            _check_size(read, name)
            parsed = parse_texts(read, name)
        except AttnvizError as error:
            error.__traceback__ = error.__context__ = None  # they hold the texts
            parsed = error
        st.session_state[key] = (identity, parsed)
    if isinstance(parsed, AttnvizError):
        raise parsed
    texts: TextSet = parsed
    return texts


def _check_size(content: bytes, name: str) -> None:
    """Refuse what is too large before it is parsed.

    Raises:
        InputError: more bytes than `MOST_CHARACTERS` can take, or more than `MOST_LINES` lines.
    """
    lines = content.count(b"\n") + content.count(b"\r")
    if lines > MOST_LINES:
        raise InputError(
            f"'{name}' has {lines:,} line breaks, and up to {MOST_TEXTS:,} are read here. {SAMPLE}"
        )
    if len(content) > 4 * MOST_CHARACTERS:
        raise InputError(
            f"'{name}' has {len(content):,} bytes, and up to {MOST_CHARACTERS:,} characters are "
            f"read here. {SAMPLE}"
        )


def _checked(texts: TextSet, family: Family) -> TextSet:
    """Return the set if this kind of model can read it, with a line on what it holds.

    Raises:
        InputError: too many texts, too many characters, or targets for a model that writes none.
    """
    texts = as_text_set(texts, family)
    if len(texts.texts) > MOST_TEXTS:
        raise InputError(
            f"'{texts.name}' has {len(texts.texts):,} texts; up to {MOST_TEXTS:,} are read here. "
            + SAMPLE
        )
    characters = sum(len(one.source) + len(one.target or "") for one in texts.texts)
    if characters > MOST_CHARACTERS:
        raise InputError(
            f"the texts of '{texts.name}' have {characters:,} characters together; up to "
            f"{MOST_CHARACTERS:,} are read here. {SAMPLE}"
        )
    if not texts.name.startswith("bundled"):
        number = f"{text_count(len(texts.texts))} of {characters:,} characters"
        show_plain(" ".join(map(sentence, [number, *texts.notes])), small=True)
    return texts

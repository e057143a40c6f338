"""Text of users, models and files on a page: shown as it is, with nothing interpreted in it.

Streamlit turns addresses of pages and mail in Markdown into links, `:smile:` and
`:material/home:` into pictures, `->` and `>=` into other characters, also where they are escaped.
`show_plain` writes escaped HTML; `plain` is for messages, labels and tooltips, which are always
read as Markdown.
"""

from __future__ import annotations

import re
from html import escape

import streamlit as st

from attnviz.models import printable

__all__ = ["Strong", "plain", "readable", "show_plain"]

# A character that has no meaning in Markdown: letters, digits, everything outside of ASCII.
_LETTER = r"[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]"
_SAFE = re.compile(
    rf"""["'(]* (?:[-+](?=\d))? (?:{_LETTER}+ (?:[-/',]{_LETTER}+ | (?<=\d)\.(?=\d){_LETTER}+)*)
    ["')%]* [.,;:!?]? ["')]*""",
    re.VERBOSE,
)
_LIST_NUMBER = re.compile(r"\d+[.)]")
_ICON = re.compile(r":(?=material/)")  # replaced by Streamlit before the Markdown is parsed


class Strong(str):
    """Part of a text that is shown in bold."""


def readable(text: str) -> str:
    """Return text on one line with hidden characters made visible; spaces stay spaces."""
    return " ".join(printable(part) if part else "" for part in text.split(" "))


def show_plain(*parts: str, small: bool = False) -> None:
    """Show text as a paragraph in which nothing is interpreted.

    Args:
        parts: joined without a space; a `Strong` one is bold.
        small: in the size and colour of a caption.
    """
    body = "".join(
        f"<b>{escape(readable(part))}</b>" if isinstance(part, Strong) else escape(readable(part))
        for part in parts
    )
    st.html(f'<p class="attnviz-plain{" attnviz-small" if small else ""}">{body}</p>')


def plain(text: str) -> str:
    """Return Markdown that shows a text as it is.

    Words that hold a character with a meaning in Markdown become code, where nothing is
    interpreted; all other words are plain letters, numbers and punctuation.
    """
    parts: list[str] = []
    code: list[str] = []
    for number, word in enumerate(readable(text).split(" ")):
        if _SAFE.fullmatch(word) and not (number == 0 and _LIST_NUMBER.fullmatch(word)):
            parts += [_code(code)] if code else []
            parts, code = [*parts, word], []
        elif word:
            code.append(word)
    return " ".join([*parts, _code(code)] if code else parts)


def _code(words: list[str]) -> str:
    """Return words as one code span; a longer fence than any inside of it."""
    text = _ICON.sub(":\u2060", " ".join(words))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"

"""Texts of a diagnosis: bundled, from a file or folder, or a list.

No message here repeats a text, and none is logged: what people read with their models is theirs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from attnviz.errors import EmptyText, InputError
from attnviz.types import Family
from attnviz.written_numbers import size

__all__ = [
    "MOST_BYTES",
    "Text",
    "TextSet",
    "as_text_set",
    "bundled",
    "joined_stories",
    "parse_texts",
    "read_texts",
]

FOLDER = Path(__file__).parent / "texts"

MOST_BYTES = 64_000_000
"""Larger files are refused: a diagnosis of so much text takes too long text."""

ONE_TEXT = "one text only: no interval can be given, unless it is long and read in windows"

LINE_END = re.compile(r"\r\n|\n|\r")  # not str.splitlines: it splits inside of texts, too


@dataclass(frozen=True)
class Text:
    """Text as it was given.

    Attributes:
        source: what the model reads.
        target: what the decoder of an encoder-decoder is to write.
    """

    source: str
    target: str | None = None


@dataclass(frozen=True)
class TextSet:
    """Texts of a diagnosis, in order, none twice.

    Attributes:
        name: "bundled (decoder)", or the name of the file or folder they came from, without path.
        texts: at least one.
        notes: what a reader of the results should know: what was left out, what cannot be said.
    """

    name: str
    texts: tuple[Text, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over all texts in their order, in hexadecimal; the name does not count."""
        listed = json.dumps([[text.source, text.target] for text in self.texts])
        return hashlib.sha256(listed.encode()).hexdigest()


def bundled(family: Family) -> TextSet:
    """Return the 60 texts that come with the package for a kind of model, written for this purpose.

    Stories, dialogues, lists and rhythms that repeat for decoders; two sentences each for encoders;
    English sentences with a French translation for encoder-decoders.
    """
    return replace(read_texts(FOLDER / f"{family}.tsv"), name=f"bundled ({family})")


def joined_stories() -> str:
    """Return the bundled texts for decoders as one long text."""
    return " ".join(text.source for text in bundled("decoder").texts)


def read_texts(path: str | Path) -> TextSet:
    """Return the texts of a file, a line each, or of a folder, a `.txt` file each.

    The order is that of the names.

    White space around a text is left out, and so are empty texts and those that came before. In a
    file, a tab separates a text from its target; in a folder's files, tabs and lines are text.

    Raises:
        InputError: no such file, not UTF-8 text, too large, or a line with a tab too many.
        EmptyText: nothing but white space.
    """
    path = Path(path)
    try:
        path = path.expanduser()
        if path.is_dir():
            return _folder(path)
        read = _bytes(path, MOST_BYTES)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return parse_texts(read, path.name)


def parse_texts(content: bytes, name: str) -> TextSet:
    """Return the texts of a file that is in memory: a line each, as `read_texts` reads them.

    Args:
        content: UTF-8, with or without a byte order mark.
        name: what to call it, in messages and as the name of the set.

    Raises:
        InputError: not UTF-8 text, too large, or a line with a tab too many.
        EmptyText: nothing but white space.
    """
    lines = LINE_END.split(_decoded(content, MOST_BYTES, name))
    if lines[-1] == "":  # behind the last line's end
        lines.pop()
    texts = [_line(line, number, name) for number, line in enumerate(lines, 1)]
    return _gathered(name, texts, "line")


def as_text_set(
    texts: str | Path | Iterable[str | Text] | TextSet | None, family: Family
) -> TextSet:
    """Return texts of any accepted form as a set for a family of models.

    Args:
        texts: None for the bundled ones; the path of a file or folder; or a list of texts.
        family: family of the model. Only encoder-decoders have targets; without one, the model
            generates it.

    Raises:
        InputError: what `read_texts` raises; a text where a path or a list belongs; a target for
            a model without an encoder and a decoder; something that is no text.
        EmptyText: an empty list, or nothing but white space in it.
    """
    if texts is None:
        return bundled(family)
    if isinstance(texts, str) and not _exists(texts):
        # Perhaps a text, and not a mistyped path: it is not repeated.
        raise InputError(
            "the texts are given as one string that names no file or folder; put texts of your "
            "own in a list, such as [text]"
        )
    if isinstance(texts, (str, Path)):
        chosen = read_texts(texts)
    elif isinstance(texts, TextSet):
        chosen = texts
        if not chosen.texts:
            raise EmptyText(f"there is no text in '{chosen.name}'; give at least one")
    elif not isinstance(texts, Iterable):
        raise InputError(
            f"texts should be a list of strings, a path or None, not {type(texts).__name__}"
        )
    else:
        chosen = _gathered("texts of your own", list(map(_given_text, texts, count())), "text")
    if family != "encoder-decoder" and any(text.target is not None for text in chosen.texts):
        raise InputError(
            f"'{chosen.name}' has texts with a target, and a model with one stack writes none; "
            "give texts alone, without tabs"
        )
    if len(chosen.texts) == 1 and ONE_TEXT not in chosen.notes:
        chosen = replace(chosen, notes=(*chosen.notes, ONE_TEXT))
    return chosen


def _exists(name: str) -> bool:
    try:
        return bool(name) and Path(name).expanduser().exists()
    except (
        OSError,
        ValueError,
        RuntimeError,
    ):  # too long for a name, or a home folder that does not exist
        return False


def _given_text(text: object, place: int) -> Text:
    """Return one entry of a list."""
    if isinstance(text, Text):
        return text
    if not isinstance(text, str):
        raise InputError(
            f"texts should be strings, and the one at place {place} is of type "
            f"{type(text).__name__}"
        )
    return Text(text)


def _folder(path: Path) -> TextSet:
    files = sorted(
        one
        for one in path.iterdir()
        if one.suffix.lower() == ".txt" and not one.name.startswith(".")
    )
    if not files:
        raise InputError(
            f"the folder '{path.name}' has no .txt files; put one text in each, or give a file "
            "with a text on each line"
        )
    room, texts = MOST_BYTES, []
    for file in files:
        try:
            read = _decoded(_bytes(file, room), room, file.name)
        except OSError as error:
            raise _unreadable(file, error) from error
        room -= len(read)
        texts.append(Text(LINE_END.sub("\n", read).strip()))
    return _gathered(path.resolve().name, texts, "file")


def _bytes(path: Path, room: int) -> bytes:
    """Return what is in a file, and one byte more than there is room for if it is too large."""
    with path.open("rb") as file:
        return file.read(room + 1)


def _decoded(read: bytes, room: int, name: str) -> str:
    """Return a file as text: UTF-8, with or without a byte order mark."""
    if len(read) > room:
        raise InputError(
            f"'{name}' is too large: {size(MOST_BYTES)} of text are the most that is "
            "read; give a sample of it"
        )
    if read.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"'{name}' is text in UTF-16; save it as UTF-8")
    if b"\0" in read:
        raise InputError(
            f"'{name}' is not text: it has a zero byte at position {read.index(0)}; expected "
            "a text on each line, in UTF-8"
        )
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = 3 if read.startswith(b"\xef\xbb\xbf") else 0  # not counted by the decoder
        raise InputError(
            f"'{name}' is not UTF-8: the byte at position {error.start + mark} does not fit; "
            "save it as UTF-8"
        ) from error


def _line(line: str, number: int, name: str) -> Text:
    """Return a line's text, and the target behind its tab."""
    if not line.strip():
        return Text("")
    parts = [part.strip() for part in line.rstrip().split("\t")]
    if len(parts) > 2:
        raise InputError(
            f"line {number} of '{name}' has {len(parts) - 1} tabs; expected a text, or a text and "
            "its target with one tab between them"
        )
    if not parts[0]:
        raise InputError(
            f"line {number} of '{name}' has nothing before its tab; a tab separates a text from "
            "its target"
        )
    return Text(*parts)


def _gathered(name: str, texts: list[Text], unit: str) -> TextSet:
    """Return what is left without the empty ones and the repeated ones, with notes."""
    filled = [text for text in texts if text.source.strip()]
    if not filled:
        what = f"all of its {unit}s are empty" if texts else "it is empty"
        raise EmptyText(f"there is no text in '{name}': {what}")
    kept = tuple(dict.fromkeys(filled))
    notes = [
        _left_out(len(texts) - len(filled), f"empty {unit}"),
        _left_out(len(filled) - len(kept), f"repeated {unit}"),
        ONE_TEXT if len(kept) == 1 else "",
    ]
    return TextSet(name, kept, tuple(note for note in notes if note))


def _left_out(number: int, what: str) -> str:
    if not number:
        return ""
    return f"{number} {what}{' was' if number == 1 else 's were'} left out"


def _unreadable(path: Path, error: Exception) -> InputError:
    """Return the system's error as a sentence."""
    if isinstance(error, PermissionError):
        return InputError(f"'{path}' may not be read by you; change its permissions")
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError, RuntimeError)):
        return InputError(
            f"there is no file or folder '{path}'; give a file with a text on each line"
        )
    return InputError(f"'{path}' could not be read: {getattr(error, 'strerror', None) or error}")

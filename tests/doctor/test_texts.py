"""Texts of a diagnosis: the bundled ones, and files, folders and lists of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from attnviz.errors import AttnvizError, EmptyText, InputError
from attnviz.experiments import text_sets as module
from attnviz.experiments.text_sets import Text, TextSet, as_text_set, bundled, read_texts
from attnviz.types import Family

FAMILIES: tuple[Family, ...] = get_args(Family)
WORDS: dict[Family, tuple[int, int]] = {
    "decoder": (15, 60),
    "encoder": (12, 50),
    "encoder-decoder": (4, 14),
}

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file with these bytes."""

    def written(content: bytes) -> Path:
        path = tmp_path / "mine.txt"
        path.write_bytes(content)
        return path

    return written


def sources(text_set: TextSet) -> list[str]:
    return [text.source for text in text_set.texts]


@pytest.mark.parametrize("family", FAMILIES)
class TestBundled:
    def test_there_are_sixty_and_none_comes_twice(self, family: Family) -> None:
        text_set = bundled(family)
        assert text_set.name == f"bundled ({family})"
        assert len(text_set.texts) == len(set(sources(text_set))) == 60
        assert text_set.notes == ()

    def test_their_lengths_differ_within_bounds(self, family: Family) -> None:
        fewest, most = WORDS[family]
        lengths = [len(text.source.split()) for text in bundled(family).texts]
        assert fewest <= min(lengths) < max(lengths) <= most
        assert max(lengths) >= 2.5 * min(lengths)

    def test_only_encoder_decoders_have_targets(self, family: Family) -> None:
        for text in bundled(family).texts:
            assert (text.target is not None) == (family == "encoder-decoder")

    def test_they_are_plain_characters(self, family: Family) -> None:
        for text in bundled(family).texts:
            assert text.source.isascii()
            assert text.source.rstrip('"')[-1] in ".?!"
            assert f"{text.source}{text.target}".isprintable()
            assert "  " not in f"{text.source} {text.target}"


def test_most_texts_for_decoders_repeat_something() -> None:
    def repeats(text: Text) -> bool:
        words = text.source.lower().split()
        pairs = list(pairwise(words))
        return len(set(pairs)) < len(pairs)

    assert sum(map(repeats, bundled("decoder").texts)) >= 30


def test_texts_for_encoders_have_two_sentences() -> None:
    for text in bundled("encoder").texts:
        ends = [word for word in text.source.split() if word[-1] in ".?!"]
        assert len(ends) == 2, text.source


def test_translations_are_french_and_whole() -> None:
    for text in bundled("encoder-decoder").texts:
        assert text.target is not None
        assert text.target[-1] == text.source[-1]
        assert 0.5 < len(text.target) / len(text.source) < 2
        assert text.target != text.source


@pytest.mark.parametrize(
    "content",
    [
        b"one fish\ntwo fish\n",
        b"one fish\ntwo fish",
        b"one fish\r\ntwo fish\r\n",
        b"one fish\rtwo fish",
        b"\xef\xbb\xbfone fish\ntwo fish\n",
        b"  one fish\t\n two fish  \n",
    ],
    ids=["plain", "no final end", "windows", "old mac", "byte order mark", "white space"],
)
def test_a_file_is_a_text_on_each_line(write: Write, content: bytes) -> None:
    text_set = read_texts(write(content))
    assert text_set == TextSet("mine.txt", (Text("one fish"), Text("two fish")))


def test_rare_line_separators_are_part_of_a_text(write: Write) -> None:
    assert len(read_texts(write("one\u2028fish\x0c\x85two\nthree".encode())).texts) == 2


def test_a_tab_separates_a_text_from_its_target(write: Write) -> None:
    text_set = read_texts(write(b"A cat.\tUn chat.\nA dog.\n"))
    assert text_set.texts == (Text("A cat.", "Un chat."), Text("A dog."))


def test_what_is_left_out_is_said(write: Write) -> None:
    text_set = read_texts(write(b"one\n\n \t \ntwo\none\n"))
    assert sources(text_set) == ["one", "two"]
    assert text_set.notes == ("2 empty lines were left out", "1 repeated line was left out")


def test_equal_texts_with_other_targets_are_different(write: Write) -> None:
    assert len(read_texts(write(b"you\ttu\nyou\tvous\n")).texts) == 2


@pytest.mark.parametrize("content", [b"alone\n", b"alone\nalone\n\n"])
def test_one_text_alone_has_no_interval(write: Write, content: bytes) -> None:
    assert any("no interval" in note for note in read_texts(write(content)).notes)


def test_long_lines_are_texts_too(write: Write) -> None:
    assert len(sources(read_texts(write(b"word " * 50_000)))[0]) == 249_999


@pytest.mark.parametrize(
    ("content", "says", "error"),
    [
        (b"", "there is no text in 'mine.txt': it is empty", EmptyText),
        (b"\xef\xbb\xbf", "it is empty", EmptyText),
        (b" \n\t\n\r\n", "all of its lines are empty", EmptyText),
        (b"secret\ncaf\xe9\n", "is not UTF-8: the byte at position 10 does not fit", InputError),
        (b"\xef\xbb\xbfsecret\xff", "the byte at position 9 does not fit", InputError),
        (b"secret\0\x01", "is not text: it has a zero byte at position 6", InputError),
        ("secret".encode("utf-16"), "text in UTF-16; save it as UTF-8", InputError),
        (b"fine\nsecret\ta\tb\n", "line 2 of 'mine.txt' has 2 tabs", InputError),
        (b"\tsecret\n", "line 1 of 'mine.txt' has nothing before its tab", InputError),
        (b"fine\nsecret\t\tx\t\n", "line 2 of 'mine.txt' has 2 tabs", InputError),
    ],
)
def test_a_bad_file_is_a_sentence_without_the_text(
    write: Write, content: bytes, says: str, error: type[AttnvizError]
) -> None:
    with pytest.raises(error) as caught:
        read_texts(write(content))
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["no-such.txt", "mine.txt/inside", "~no-user-of-this-name/x", "\0"]
)
def test_a_missing_file_is_named(write: Write, tmp_path: Path, name: str) -> None:
    write(b"one\n")
    path = name if name.startswith("~") else tmp_path / name
    with pytest.raises(InputError, match="there is no file or folder"):
        read_texts(path)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be read: File name too long"):
        read_texts(tmp_path / ("x" * 5000))


def test_a_forbidden_file_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*unused: object) -> None:
        raise PermissionError(13, "Permission denied")  # root would be let in

    path = write(b"one\n")
    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(InputError, match="may not be read"):
        read_texts(path)


def test_too_much_text_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10**6)
    read_texts(write(b"x" * 10**6))
    path = write(b"x" * (10**6 + 1))
    with pytest.raises(InputError, match="too large: 1 MB"):
        read_texts(path)
    (path.parent / "more.txt").write_bytes(b"x")
    path.write_bytes(b"x" * 10**6)
    with pytest.raises(InputError, match="too large"):
        read_texts(path.parent)


def test_a_folder_has_a_text_in_each_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfsecond\r\n\tline\r\n")
    (tmp_path / "a.TXT").write_bytes(b"first\n")
    (tmp_path / "c.txt").write_bytes(b"\n")
    (tmp_path / "notes.md").write_bytes(b"not this\n")
    (tmp_path / "._a.txt").write_bytes(b"\0\0")
    text_set = read_texts(tmp_path)
    assert text_set.name == tmp_path.name
    assert sources(text_set) == ["first", "second\n\tline"]
    assert text_set.notes == ("1 empty file was left out",)


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no \.txt files"):
        read_texts(tmp_path)
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(InputError, match="could not be read: Is a directory"):
        read_texts(tmp_path)
    (tmp_path / "x.txt").rmdir()
    (tmp_path / "y.txt").write_bytes(b" \n")
    with pytest.raises(EmptyText, match="all of its files are empty"):
        read_texts(tmp_path)


def test_nothing_means_the_bundled_texts() -> None:
    assert as_text_set(None, "encoder") == bundled("encoder")


def test_a_list_is_taken_as_it_is() -> None:
    text_set = as_text_set([" one", "two\tthree", "", "two\tthree"], "decoder")
    assert sources(text_set) == [" one", "two\tthree"]
    assert text_set.name == "texts of your own"
    assert text_set.notes == ("1 empty text was left out", "1 repeated text was left out")
    assert as_text_set((one for one in ("a", "b")), "decoder").texts == (Text("a"), Text("b"))


def test_paths_and_sets_are_taken(write: Write) -> None:
    path = write(b"one\ntwo\n")
    from_path = as_text_set(path, "decoder")
    assert as_text_set(str(path), "decoder") == from_path
    assert as_text_set(from_path, "decoder") is from_path
    alone = as_text_set(TextSet("mine", (Text("one"),)), "decoder")
    assert any("no interval" in note for note in alone.notes)
    assert as_text_set(alone, "decoder") is alone


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("my secret text", "one string that names no file or folder"),
        ("", "one string that names no file or folder"),
        ("my secret text\0" + "x" * 5000, "one string that names no file or folder"),
        ([], "there is no text in 'texts of your own': it is empty"),
        (["  ", "\n"], "all of its texts are empty"),
        (["my secret text", 3], "the one at place 1 is of type int"),
        (b"my secret text", "the one at place 0 is of type int"),
        (5, "a list of strings, a path or None, not int"),
        (TextSet("mine", ()), "there is no text in 'mine'"),
        ([Text("a", "my secret text")], "a model with one stack writes none"),
        (TextSet("mine", (Text("a", "b"),)), "'mine' has texts with a target"),
        (Path("no-such-file"), "there is no file or folder 'no-such-file'"),
    ],
)
def test_what_cannot_be_read_is_refused(texts: object, says: str) -> None:
    with pytest.raises(InputError) as caught:
        as_text_set(texts, "decoder")  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


def test_targets_are_for_encoder_decoders() -> None:
    text_set = as_text_set([Text("a", "b"), "c"], "encoder-decoder")
    assert text_set.texts == (Text("a", "b"), Text("c"))


def test_the_digest_tells_texts_apart_and_nothing_else() -> None:
    digests = {
        as_text_set(texts, "encoder-decoder").digest
        for texts in (["a", "b"], ["b", "a"], ["ab"], ["a\tb"], [Text("a", "b")], ["a", "b", "c"])
    }
    assert len(digests) == 6
    assert TextSet("x", (Text("é"),)).digest == TextSet("y", (Text("é"),), ("note",)).digest
    assert len(TextSet("x", (Text("half \ud83d"),)).digest) == 64

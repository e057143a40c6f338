from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.views.style.safe_labels import display_width, escape_label, shorten
from tests.views.samples import HOSTILE

FAMILY = "👩\u200d👩\u200d👧"


@pytest.mark.parametrize("label", HOSTILE)
def test_nothing_is_left_for_plotly_to_interpret(label):
    escaped = escape_label(label)
    assert not set("<>%$") & set(escaped)
    assert html.unescape(escaped).strip("\u2068\u2069") == label


@given(st.text())
def test_any_text_is_shown_as_its_characters(label):
    escaped = escape_label(label)
    assert not set("<>%$") & set(escaped)
    assert not any(ord(character) < 32 for character in escaped)


def test_a_right_to_left_label_keeps_to_itself():
    assert escape_label("שלום") == "\u2068שלום\u2069"
    assert escape_label("abc") == "abc"


def test_marks_that_reorder_neighbours_are_made_visible():
    assert escape_label("a\u202eb\u2069c") == "a\ufffdb\ufffdc"


def test_line_breaks_and_control_characters_are_made_visible():
    assert escape_label("a\nb\tc\x00") == "a↵b⇥c\ufffd"


def test_short_labels_stay_whole():
    assert shorten("·fox") == "·fox"
    assert shorten("x" * 14) == "x" * 14


def test_long_labels_end_in_an_ellipsis():
    assert shorten("x" * 15) == "x" * 13 + "…"


def test_wide_letters_count_two():
    assert display_width("東京") == 4
    assert shorten("東京東京東京東京") == "東京東京東京…"


def test_a_joined_emoji_is_never_cut_in_half():
    cut = shorten(FAMILY * 8)
    assert cut.rstrip("…") == FAMILY * (len(cut.rstrip("…")) // len(FAMILY))


def test_an_accent_stays_with_its_letter():
    assert shorten("e\u0301" * 20) == "e\u0301" * 13 + "…"


@given(st.text(min_size=1), st.integers(2, 20))
def test_a_shortened_label_fits(label, width):
    assert display_width(shorten(label, width)) <= width

"""Phrases of lessons: all that are needed, no other, each with its placeholders."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from attnviz.errors import InputError
from attnviz.lessons import lessons, parse_lesson
from attnviz.lessons.lesson_reader import TEXTS
from attnviz.lessons.phrases.browser_phrases import BROWSER_PHRASES
from attnviz.lessons.phrases.named_phrases import phrases_of, read_engine_texts, shared_phrase
from attnviz.lessons.phrases.phrase_table import LESSON_PHRASES, SHARED_PHRASES, keys
from attnviz.ui.components.plotly_map import CELL_WORDS

SCENES = Path(__file__).parents[2] / "attnviz/lessons"
COMPONENT = Path(__file__).parents[2] / "attnviz/ui/components/assets/lesson"
STAGE = COMPONENT.parents[1] / "lesson_stage.py"
MASKS = (TEXTS / "masks.toml").read_text("utf-8")
ENGINE = (TEXTS / "engine.toml").read_text("utf-8")

WRONG = (
    ('none_ahead = "no token ahead"\n', "", "add to its phrases: none_ahead"),
    ("[phrases]\n", '[phrases]\nextra = "a word"\n', "remove from its phrases: extra"),
    ("{count} ahead", "some ahead", "the phrase ahead needs {count}"),
    ("{count} ahead", "{count} of {all} ahead", "the phrase ahead needs {count}"),
    ("{count} ahead", "{count ahead", "the phrase ahead"),
    ('"no token ahead"', '""', "the phrase none_ahead needs a text"),
    ('"no token ahead"', "3", "the phrase none_ahead needs a text"),
    ("no token ahead", "no {count} ahead", "needs no placeholder"),
)


@pytest.mark.parametrize(("old", "new", "said"), WRONG)
def test_a_wrong_phrase_of_a_lesson_is_named(old: str, new: str, said: str) -> None:
    changed = MASKS.replace(old, new, 1)
    assert changed != MASKS and parse_lesson("masks", MASKS).phrases
    with pytest.raises(InputError) as caught:
        parse_lesson("masks", changed)
    assert said in str(caught.value) and "masks" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('reveal = "Reveal"\n', "", "add to its phrases: reveal"),
        ("[browser]", '[browser]\nextra = "a word"', "remove from its phrases: extra"),
        ("Step {number}", "Step", "the phrase step needs {number} {title}"),
        ("[browser]", "[window]", "it needs the tables phrases, browser"),
        ("[browser]", "[browser", "cannot be read"),
    ],
)
def test_a_wrong_text_of_the_engine_is_named(old: str, new: str, said: str) -> None:
    assert read_engine_texts(ENGINE)
    with pytest.raises(InputError) as caught:
        read_engine_texts(ENGINE.replace(old, new, 1))
    assert said in str(caught.value)


def test_phrases_take_their_values_as_text() -> None:
    assert phrases_of("masks")("ahead", count=2) == "2 ahead"
    assert phrases_of("induction")("without", head="{count}") == "without {count}"
    assert shared_phrase("no_words", model="m") == "the tokens of m cannot be assigned to words"


def named_keys(path: Path, function: str) -> dict[str, set[str]]:
    """Return the keys in the calls of a function, each with the names of its values."""
    calls = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if is_call(node, function)
    ]
    literal = [call for call in calls if isinstance(call.args[0], ast.Constant)]
    return {call.args[0].value: {one.arg for one in call.keywords} for call in literal}


def is_call(node: ast.AST, function: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
        and bool(node.args)
    )


def test_scenes_name_phrases_with_their_placeholders() -> None:
    """Every key that a scene names is in the table, and every key of the table is in a scene."""
    for lesson in lessons():
        table = keys(LESSON_PHRASES.get(lesson.name, ()))
        paths = [
            one for one in SCENES.rglob("*.py") if f'phrases_of("{lesson.name}")' in one.read_text()
        ]
        assert bool(paths) == bool(table), lesson.name
        source = "".join(one.read_text("utf-8") for one in paths)
        for path in paths:
            for key, values in named_keys(path, "phrase").items():
                assert values == table[key], (path.name, key)
        assert [key for key in table if f'"{key}"' not in source] == [], lesson.name
    shared = keys(SHARED_PHRASES)
    calls = [named_keys(one, "shared_phrase") for one in SCENES.rglob("*.py")]
    assert {key for call in calls for key in call} == set(shared)
    assert all(values == shared[key] for call in calls for key, values in call.items())


def test_the_component_names_phrases_with_their_placeholders() -> None:
    """Every key that the component says is in the table, and every key of the table is said."""
    modules = [path.read_text("utf-8") for path in COMPONENT.rglob("*.js")]
    source = "\n".join([*modules, STAGE.read_text("utf-8")])
    of_cells = {f"map_{name}" for name in CELL_WORDS}
    assert of_cells <= set(BROWSER_PHRASES)
    assert [
        key
        for key in BROWSER_PHRASES
        if key not in of_cells and f'"{key}"' not in source and f"'{key}'" not in source
    ] == []
    for key in re.findall(r'\bsay\("(\w+)"', source):
        assert key in BROWSER_PHRASES
    for key in re.findall(r'\bsay\("(\w+)"\)', source):
        assert not BROWSER_PHRASES[key], key

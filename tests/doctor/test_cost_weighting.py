"""Costs weighted by token and by text: the sentence names heads where the two differ."""

from __future__ import annotations

import numpy as np
import pytest

import attnviz
from attnviz.doctor.labels.cost_weighting import mean_of_texts, weighting_note
from attnviz.doctor.measures.bootstrap import ratios


def by_loop(changes: list[float], tokens: list[int]) -> float:
    rates = [
        change / size
        for change, size in zip(changes, tokens, strict=True)
        if size > 0 and np.isfinite(change)
    ]
    return sum(rates) / len(rates) if rates else float("nan")


def note(changes: np.ndarray, tokens: np.ndarray, tolerance: float = 0.01) -> str:
    costs = {"self": ratios(changes, tokens, seed=0)}
    return weighting_note({"self": changes}, tokens, costs, tolerance)


def test_mean_of_texts_equals_a_loop() -> None:
    random = np.random.default_rng(3)
    changes = random.normal(size=(2, 3, 7))
    changes[0, 1, 2] = np.nan
    changes[1, 1] = np.nan
    tokens = np.array([5, 0, 12, 1, 300, 7, 2])
    means = mean_of_texts(changes, tokens.astype(float))
    for cell in np.ndindex(2, 3):
        expected = by_loop(list(changes[cell]), list(tokens))
        assert means[cell] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_head_needed_on_short_texts_alone_is_named() -> None:
    tokens = np.array([10.0] * 12 + [1000.0] * 12)
    changes = np.zeros((1, 2, 24))
    changes[0, 0] = np.where(tokens < 100, 0.5, 0.0) * tokens  # 0.5 nats on short texts alone
    changes[0, 1] = 0.2 * tokens  # the same on both
    said = note(changes, tokens)
    assert "L0·H0 0.25 instead of 0.005" in said
    assert "L0·H1" not in said


def test_texts_of_one_length_need_no_note() -> None:
    random = np.random.default_rng(0)
    assert note(random.normal(size=(2, 2, 20)), np.full(20, 64.0)) == ""


def test_difference_below_the_tolerance_needs_no_note() -> None:
    tokens = np.array([10.0] * 12 + [1000.0] * 12)
    changes = (np.where(tokens < 100, 0.5, 0.0) * tokens)[None, None]
    assert note(changes, tokens, tolerance=0.3) == ""


def test_a_diagnosis_of_uneven_texts_has_the_note() -> None:
    animals = ("cat", "dog", "bird", "fox", "bear", "frog")
    short = [f"the {one} ran and the {one} ran and the {one} ran" for one in animals]
    story = "One day a girl named Lily went to the park with her mother and saw a"
    long = [f"{story} {one}. " + f"The {one} was big and {story} boat. " * 6 for one in animals]
    diagnosis = attnviz.diagnose(
        attnviz.load("gpt-classroom"), [*short, *long], replacements=("zero",)
    )
    notes = [one for one in diagnosis.notes if "if every text counted the same" in one]
    assert len(notes) == 1 and "instead of" in notes[0]
    assert "if every text counted the same" in diagnosis.html()

"""Pages on models that compute NaN: a red badge and a sentence, and no exception anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from attnviz.ui.jobs.proofs import _JOBS
from tests.app.conftest import OpenApp, said, until
from tests.broken import with_number
from tests.zoo import Pair

Zoo = Callable[[str], Pair]
ALL = slice(None)
FAULTS: dict[str, tuple[str, str, tuple[int | slice, ...]]] = {
    "one head": ("gpt2", "h.1.attn.c_attn.weight", (3, 9)),
    "every head": ("gpt2", "wte.weight", (ALL, 0)),
    "a cross-attention": ("t5", "decoder.block.1.layer.1.EncDecAttention.k.weight", (7, 3)),
    "an encoder": ("bert", "layer.1.attention.self.key.weight", (9, 0)),
}


@pytest.fixture(scope="module", params=FAULTS)
def broken(
    request: pytest.FixtureRequest, zoo: Zoo, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    name, weight, place = FAULTS[request.param]
    folder = tmp_path_factory.mktemp("models") / "broken"
    return weight, with_number(zoo(name).folder, folder, weight, math.nan, place)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch, broken: tuple[str, Path]) -> None:
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(broken[1].parent))


def test_the_badge_is_red_and_a_sentence_names_the_weight(
    open_app: OpenApp, broken: tuple[str, Path]
) -> None:
    weight, folder = broken
    app = open_app(model=folder)
    assert not app.exception
    until(lambda: all(job.over for job in list(_JOBS._jobs.values())), 60)
    app.run()
    assert not app.exception
    assert any("NaN or infinity" in one.value for one in app.error)
    assert any(weight.rpartition(".")[0] in one.value.replace("\\", "") for one in app.error)
    assert "exact to" not in said(app)


@pytest.mark.parametrize("side", ["Weights", "Queries and keys", "Row by row", "Numbers"])
def test_a_broken_head_is_shown_without_numbers(
    open_app: OpenApp, broken: tuple[str, Path], side: str
) -> None:
    kind = {"kind": "cross"} if "EncDec" in broken[0] else {}
    app = open_app(model=broken[1], layer=1, head=1, **kind)
    app.segmented_control(key="part").set_value(side).run()
    assert not app.exception
    assert "has NaN or infinity among its numbers" in said(app)


@pytest.mark.parametrize(
    "page", ["pages/explore/lines.py", "pages/compare/pair.py", "pages/explore/induction.py"]
)
def test_other_pages_show_it_too(open_app: OpenApp, broken: tuple[str, Path], page: str) -> None:
    app = open_app(page, model=broken[1], layer=1, head=1)
    assert not app.exception
    if "induction" in page and "c_attn" in broken[0]:
        assert any("NaN or infinity" in one.value for one in app.error)


def test_predictions_of_a_broken_model_are_not_made_up(
    open_app: OpenApp, broken: tuple[str, Path]
) -> None:
    app = open_app(model=broken[1], layer=1, head=1)
    assert "model expects:" not in said(app)


def test_what_a_token_looks_at_is_not_made_up(open_app: OpenApp, broken: tuple[str, Path]) -> None:
    kind = {"kind": "cross"} if "EncDec" in broken[0] else {}
    app = open_app(model=broken[1], layer=1, head=1, **kind)
    app.session_state["token"] = 3
    app.run()
    assert not app.exception
    assert "not defined (NaN)" in said(app) and "nothing" not in said(app)

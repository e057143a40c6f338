"""Examples that are for one shipped model come before those of its family."""

from __future__ import annotations

from attnviz.models import CLASSROOM
from attnviz.ui.session.example_texts import EXAMPLES, OF_MODELS, examples_of


def test_a_model_without_its_own_examples_has_those_of_its_family() -> None:
    assert examples_of("org/model", "decoder") == EXAMPLES["decoder"]


def test_own_examples_come_first_and_no_text_comes_twice() -> None:
    for name in OF_MODELS:
        listed = examples_of(name, "decoder")
        assert listed[: len(OF_MODELS[name])] == OF_MODELS[name]
        assert len({one.text for one in listed}) == len(listed)
        assert {one.text for one in EXAMPLES["decoder"]} <= {one.text for one in listed}


def test_only_shipped_models_have_their_own() -> None:
    assert set(OF_MODELS) <= {model.name for model in CLASSROOM}

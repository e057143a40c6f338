"""Page *Patch*: fields, background job, maps, and what the examples say of the models."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.captures.forward_pass import encode
from attnviz.experiments.patching.head_patches import patch_heads, patch_together
from attnviz.experiments.patching.head_paths import patch_paths
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, logits_of, word_id
from attnviz.models import Model
from attnviz.types import Head
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.patch.pair_examples import PAIRS, PairExample
from attnviz.written_numbers import percent, signed
from tests.app.conftest import OpenApp, maps, said, until
from tests.experiments.test_patching import all_heads

PAGE = "pages/cause/patch.py"
START = "start:Patch every head"


def patched(app: AppTest) -> AppTest:
    """Press the button, wait for the job, and draw the page again."""
    app.button(key=START).click().run()
    until(lambda: long_jobs().unfinished == 0)
    app.run()
    assert not app.exception
    return app


def test_paths_into_the_keys_of_a_head_are_shown_and_walked(open_app: OpenApp) -> None:
    app = patched(open_app(PAGE, patch_view="paths"))
    # It begins with the strongest head that can read another one.
    assert "Strongest: L0·H7 into the keys of L1·H" in said(app)
    model = attnviz.load("gpt-classroom")
    example = PAIRS["decoder"][0]
    texts = [encode(model, one) for one in (example.clean, example.corrupted)]
    words = [word_id(model, word)[0] for word in (example.answer, example.other)]
    for layer, head, reads in ((1, 3, "key"), (2, 4, "value")):
        app.selectbox(key="patch_layer").select(layer).run()
        app.selectbox(key="patch_head").select(head).run()
        app.segmented_control(key="patch_reads").set_value(reads).run()
        paths = patch_paths(
            model, TextPair(*texts), LogitDifference(*words), Head("self", layer, head), reads
        )
        shares = paths.share("self")
        best = np.unravel_index(int(np.nanargmax(np.abs(shares))), shares.shape)
        label = Head("self", int(best[0]), int(best[1])).label
        assert f"Strongest: {label} into the {reads}s of L{layer}·H{head}, " in said(app)
        assert f"{percent(float(shares[best]))} of the way" in said(app)
        assert not app.exception
    app.selectbox(key="patch_layer").select(0).run()
    assert "Heads of layer 0 read no other head: choose one of a higher layer." in said(app)


def test_paths_of_a_large_model_are_measured_in_the_background(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnviz.ui.server.run_places.AT_ONCE", 0)
    app = patched(open_app(PAGE, patch_view="paths"))
    assert "Strongest: " not in said(app)
    app.button(key="start:Patch every path").click().run()
    until(lambda: long_jobs().unfinished == 0)
    app.run()
    assert "Strongest: L0·H7 into the keys of L1·H" in said(app)
    assert not app.exception


def test_paths_of_t5_come_from_three_kinds_of_heads(open_app: OpenApp) -> None:
    app = patched(open_app(PAGE, model="t5-classroom", patch_view="paths", patch_kind="cross"))
    # What the keys of cross-attention are made of is written by the encoder.
    app.segmented_control(key="patch_reads").set_value("key").run()
    assert "Strongest: encoder L" in said(app)
    assert app.segmented_control(key="patch_sender").value == "encoder"
    for kind in ("encoder", "decoder", "cross"):
        app.segmented_control(key="patch_sender").set_value(kind).run()
        assert not app.exception
        assert "Strongest: " in said(app)


def effect(app: AppTest) -> str:
    """Return the sentence about the chosen head."""
    return next(line for line in said(app).splitlines() if "of the way" in line)


def test_strongest_head_is_shown_and_another_one_chosen(open_app: OpenApp) -> None:
    app = patched(open_app(PAGE))
    model = attnviz.load("gpt-classroom")
    example = PAIRS["decoder"][0]
    texts = [encode(model, one) for one in (example.clean, example.corrupted)]
    words = [word_id(model, one)[0] for one in (example.answer, example.other)]
    effects = patch_heads(model, TextPair(*texts), LogitDifference(*words))
    shares = effects.share("self")
    assert (shares[0, 7], shares.max()) == (shares.max(), shares[0, 7])
    assert f"clean {signed(effects.clean)}, corrupted {signed(effects.corrupted)}" in said(app)
    assert f"{percent(float(shares[0, 7]))} of the way" in effect(app)
    assert effect(app).startswith("L0·H7 with its clean output")
    app.selectbox(key="patch_layer").select(1).run()
    app.selectbox(key="patch_head").select(3).run()
    assert f"{percent(float(shares[1, 3]))} of the way" in effect(app)
    clean, corrupted = maps(app)
    whole = attnviz.capture(model, example.clean)["self"].weights(1, 3)
    other = attnviz.capture(model, example.corrupted)["self"].weights(1, 3)
    np.testing.assert_allclose(np.nan_to_num(clean["weights"]), whole, atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(corrupted["weights"]), other, atol=1e-6)
    keys = patch_heads(model, TextPair(*texts), LogitDifference(*words), "key")
    app.segmented_control(key="patch_part").select("key").run()
    assert f"{percent(float(keys.share('self')[1, 3]))} of the way" in effect(app)


@pytest.mark.parametrize("view", ["positions", "direct", "composition", "copying", "lens"])
@pytest.mark.parametrize("name", ["gpt-classroom", "bert-classroom", "t5-classroom"])
def test_every_view_of_every_kind_of_model(open_app: OpenApp, name: str, view: str) -> None:
    app = patched(open_app(PAGE, model=name, patch_view=view))
    words = {
        "positions": "every layer restores the clean run",
        "direct": "together",
        "composition": "From weights alone",
        "copying": "From weights alone" if name == "gpt-classroom" else "predict the next token",
        "lens": "if a layer were its last one",
    }[view]
    assert words in said(app)
    if (name, view) == ("t5-classroom", "positions"):
        app.segmented_control(key="patch_side").select("decoder").run()
        assert "every layer restores" not in said(app)
        assert "Later layers still read the corrupted source" in said(app)
    if view == "direct":
        assert ("Each layer ends in a norm" in said(app)) == (name == "bert-classroom")


def test_bad_pairs_get_a_sentence_and_keep_what_was_typed(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    long = "A much longer text than the other. " * 40
    app.text_area(key="patch_clean:decoder").set_value(long).run()
    assert "shorten it by 106 tokens" in said(app)
    assert app.text_area(key="patch_clean:decoder").value == long
    app.text_area(key="patch_clean:decoder").set_value(PAIRS["decoder"][0].clean).run()
    app.text_input(key="patch_other:decoder").set_value("dog").run()
    assert "oth answers are the token ·dog" in said(app)
    app.text_area(key="patch_clean:decoder").set_value("  ").run()
    assert "here is no text; type at least one word" in said(app)
    assert not app.exception


def test_texts_of_unequal_length_are_aligned_and_tokens_marked(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    example = PAIRS["decoder"][3]
    for field in ("clean", "corrupted"):
        app.text_area(key=f"patch_{field}:decoder").set_value(getattr(example, field))
    app.text_input(key="patch_other:decoder").set_value(example.other)
    app.run()
    assert "The texts have 13 and 15 tokens" in said(app)
    assert "Without a partner: clean “dog” (6); corrupted “very” (6), “big” (7), “man” (8)" in said(
        app
    )
    assert "Only tokens with a partner are patched" in said(app)
    model = attnviz.load("gpt-classroom")
    texts = [encode(model, one) for one in (example.clean, example.corrupted)]
    words = LogitDifference(*(word_id(model, one)[0] for one in (example.answer, example.other)))
    patched(app)
    plain = patch_heads(model, TextPair(*texts), words)
    layer, head = divmod(int(np.abs(plain.patched["self"] - plain.corrupted).argmax()), 8)
    assert f"{percent(float(plain.share('self')[layer, head]))} of the way" in effect(app)
    for name, place in (("clean", 6), ("corrupted", 8)):
        field = next(one for one in app.multiselect if one.label == f"Marked in the {name} text")
        field.select(place).run()
        if name == "clean":
            assert "1 tokens are marked in the clean text and 0" in said(app)
    assert "clean none; corrupted “very” (6), “big” (7)" in said(app)
    patched(app)
    pair = TextPair(*texts, ((6, 8),))
    marked = patch_heads(model, pair, words)
    assert f"{percent(float(marked.share('self')[layer, head]))} of the way" in effect(app)
    together = patch_together(model, pair, words, all_heads(model))
    assert f"All heads' outputs together bring it to {signed(together)}" in said(app)
    app.segmented_control(key="patch_part").select("pattern").run()
    assert "Keys without a partner keep their corrupted weights" in said(app)
    app.segmented_control(key="patch_view").select("positions").run()
    assert "Later layers still read the tokens without a partner" in said(app)


def test_equal_texts_and_a_task_that_the_model_does_not_do_are_said(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    app.text_area(key="patch_corrupted:decoder").set_value(PAIRS["decoder"][0].clean).run()
    patched(app)
    assert "Both runs have the same logit difference" in said(app)
    app = open_app(PAGE)
    object_, name = PAIRS["decoder"][2], "decoder"
    for field in ("clean", "corrupted"):
        app.text_area(key=f"patch_{field}:{name}").set_value(getattr(object_, field))
    for field in ("answer", "other"):
        app.text_input(key=f"patch_{field}:{name}").set_value(getattr(object_, field))
    patched(app.run())
    assert "it does not do this task" in said(app)
    assert "no better than chance" in said(app)


def test_typed_text_is_not_read_as_markdown(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    bad = "The <b>red</b> [x](http://a.b) :smile: *dog*"
    for field in ("clean", "corrupted"):
        app.text_area(key=f"patch_{field}:decoder").set_value(bad)
    app.text_input(key="patch_answer:decoder").set_value("<i>")
    patched(app.run())
    bodies = [one.proto.body for one in app.get("html")]
    assert not any("<i>" in body or "<b>red" in body for body in bodies)
    assert not any("](http" in str(one.value) for one in [*app.markdown, *app.caption])


def difference(model: Model, text: str, answer: str, other: str) -> tuple[float, bool]:
    """Return the logit difference behind a text, and whether the answer is likeliest."""
    row = logits_of(model, encode(model, text))[0, -1]
    first, second = (word_id(model, one)[0] for one in (answer, other))
    return float(row[first] - row[second]), int(row.argmax()) == first


def counted(model: Model, template: str, words: list[str]) -> tuple[int, int, int]:
    """Return how many pairs there are, where the answer is preferred, and where likeliest."""
    counts = [
        difference(model, template.format(one, two), one, two)
        for one, two in itertools.permutations(words, 2)
    ]
    return len(counts), sum(value > 0 for value, _ in counts), sum(best for _, best in counts)


def test_notes_of_the_examples_are_measured() -> None:
    model = attnviz.load("gpt-classroom")
    _, repetition, objects, _ = PAIRS["decoder"]
    words = [
        "dog",
        "cat",
        "man",
        "bird",
        "fox",
        "king",
        "house",
        "tree",
        "boat",
        "girl",
        "boy",
        "horse",
        "queen",
        "bear",
    ]
    words = [one for one in words if word_id(model, one)[1]]
    total, preferred, best = counted(model, "The old woman saw a {0}. The old woman saw a", words)
    assert total == 156
    assert abs(preferred - 150) <= 1
    assert abs(best - 84) <= 1
    assert "156 pairs" in repetition.note
    assert "in 150" in repetition.note
    assert "in 84" in repetition.note
    names = ["Mary", "John", "Tom", "Ben", "Jack", "Jane", "Alice", "Dorothy", "Peter"]
    template = "Then {0} and {1} went to the shop. {1} gave a book to"
    total, preferred, best = counted(model, template, names)
    assert (total, best) == (72, 0)
    assert abs(preferred - 34) <= 1
    assert "72 pairs" in objects.note
    assert "34" in objects.note


MODELS: dict[Any, str] = {
    "decoder": "gpt-classroom",
    "encoder": "bert-classroom",
    "encoder-decoder": "t5-classroom",
}
EXAMPLES = [(family, one) for family, pairs in PAIRS.items() for one in pairs]


@pytest.mark.parametrize(("family", "example"), EXAMPLES, ids=lambda one: str(one)[:12])
def test_examples_have_aligned_texts_and_whole_words(family: Any, example: PairExample) -> None:
    model = attnviz.load(MODELS[family])
    target = example.target or None
    texts = [
        encode(model, model.prompt + one, target=target)
        for one in (example.clean, example.corrupted)
    ]
    TextPair(*texts).check(model)
    assert 1 <= len(TextPair(*texts).differing()) <= 2
    assert TextPair(*texts).texts().whole == (example.title != "Unequal lengths")
    assert all(word_id(model, one)[1] for one in (example.answer, example.other))

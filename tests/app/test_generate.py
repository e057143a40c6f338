"""Page *Generate*: tokens, candidates, maps, and the cache."""

from __future__ import annotations

import numpy as np
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.efficient import kv_cache_bytes
from attnviz.experiments.generation.sampling import Sampling
from attnviz.experiments.generation.token_by_token import generate_ids, prompt_ids
from attnviz.ui.generate.cache_growth import bytes_by_layer
from attnviz.ui.generate.generation_jobs import writing_jobs
from attnviz.ui.generate.written_text import WRITTEN, Written
from attnviz.ui.jobs.long_jobs import long_jobs
from tests.app.conftest import OpenApp, maps, said, until

PAGE = "pages/cause/generate.py"


def press(app: AppTest, key: str) -> AppTest:
    """Press a button, wait for the generation, and draw the page again."""
    app.button(key=key).click().run()
    until(lambda: writing_jobs().unfinished == 0)
    app.run()
    assert not app.exception
    return app


def written(app: AppTest) -> Written:
    """Return the text of the page."""
    text = app.session_state[WRITTEN]
    assert isinstance(text, Written)
    return text


def test_greedy_tokens_and_their_map(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5)
    app.number_input[0].set_value(6).run()
    press(app, "write_many")
    model = attnviz.load("gpt-classroom")
    text = app.text_area[0].value
    steps = list(generate_ids(model, prompt_ids(model, text), max_new_tokens=6))
    assert [one.token.id for one in written(app).steps] == [one.token.id for one in steps]
    assert "6 new tokens" in said(app)
    whole = attnviz.capture(model, text)["self"].weights(1, 5)
    prompt = len(whole)
    drawn = maps(app)[0]
    assert drawn["shape"] == [prompt + 5, prompt + 6]
    table = written(app).weights(attnviz.types.Head("self", 1, 5))
    np.testing.assert_allclose(np.nan_to_num(table[:prompt, :prompt]), whole, atol=1e-6)
    np.testing.assert_allclose(table[-1, :-1], steps[-1].rows["self"][1, 5], atol=1e-6)
    assert np.isnan(table[0, 1:]).all()


def test_one_by_one_with_draws_equals_all_at_once(open_app: OpenApp) -> None:
    app = open_app(PAGE, sampling="sample")
    for _ in range(3):
        press(app, "write_one")
    model = attnviz.load("gpt-classroom")
    prompt = prompt_ids(model, app.text_area[0].value)
    steps = generate_ids(model, prompt, sampling=Sampling(sample=True), max_new_tokens=3)
    assert [one.token.id for one in written(app).steps] == [one.token.id for one in steps]
    press(app, "take_back")
    assert len(written(app).steps) == 2
    press(app, "start_again")
    assert "Nothing is generated yet" in said(app)


def test_another_candidate_is_chosen_and_continued(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    app.number_input[0].set_value(4).run()
    press(app, "write_many")
    app.selectbox(key="step").select(1).run()
    app.button(key="candidate:2").click().run()
    assert not app.exception
    text = written(app)
    assert len(text.steps) == 2
    assert text.steps[1].token == text.steps[1].candidates[2]
    press(app, "write_one")
    model = attnviz.load("gpt-classroom")
    step = next(generate_ids(model, text.continued_from()))
    assert written(app).steps[2].token.id == step.token.id


def test_a_stopped_generation_keeps_its_tokens(open_app: OpenApp) -> None:
    app = open_app(PAGE, model="llama-classroom")
    app.number_input[0].set_value(200).run()
    app.button(key="write_many").click().run()
    app.button(key="stop_writing").click().run()
    until(lambda: writing_jobs().unfinished == 0)
    app.run()
    assert not app.exception
    kept = len(written(app).steps)
    assert 0 < kept < 200
    press(app, "write_one")
    assert len(written(app).steps) == kept + 1


def test_a_t5_writes_until_its_end(open_app: OpenApp) -> None:
    app = open_app(PAGE, model="t5-classroom", kind="cross")
    press(app, "write_many")
    text = written(app)
    assert text.ended
    assert "The model has ended its text" in said(app)
    assert app.button(key="write_one").disabled
    drawn = maps(app)[0]
    assert drawn["shape"] == [len(text.steps), len(text.encoded.ids)]
    assert "can be cut here; this model has two stacks" in said(app)


def test_the_cache_is_cut(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    app.number_input[0].set_value(2).run()
    press(app, "write_many")
    assert "after 26 tokens" in said(app)
    app.button(key="start:Measure the cuts").click().run()
    until(lambda: long_jobs().unfinished == 0)
    app.run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["cache"]) == ["whole", "last 8", "first 1 + last 7", "heavy 4 + last 4"]
    assert table["bytes"][0] == 27 * 8 * 32 * 2 * 4 * 4
    assert table["bytes"][1] == 8 * 8 * 32 * 2 * 4 * 4
    assert table["mean divergence, nats"][0] == 0


def test_the_cache_of_each_layer_grows_or_keeps_its_window(open_app: OpenApp) -> None:
    app = open_app(PAGE, model="llama-classroom")
    app.number_input[0].set_value(3).run()
    press(app, "write_many")
    assert "8 query heads share 2 heads of keys and values" in said(app)
    assert "4 times smaller" in said(app)
    assert "Layers 1, 3 have a window, and their cache no longer grows" in said(app)
    model = attnviz.load("llama-classroom")
    steps = written(app).steps
    size = model.network.config.head_dim
    by_layer = bytes_by_layer(steps)
    assert set(by_layer) == {"layers 0, 2", "layers 1, 3"}
    for place, step in enumerate(steps):
        whole = kv_cache_bytes(
            layers=1, kv_heads=2, d_head=size, tokens=step.position + 1, bytes_per_number=4
        )
        assert by_layer["layers 0, 2"][place] == whole
        # The library keeps one token less than the window of 64: the query is the last.
        assert by_layer["layers 1, 3"][place] == whole * 63 // (step.position + 1)


def test_an_encoder_and_an_empty_text_get_a_sentence(open_app: OpenApp) -> None:
    assert "continues no text" in said(open_app(PAGE, model="bert-classroom"))
    app = open_app(PAGE)
    app.text_area[0].set_value(" ").run()
    assert "type at least one word" in said(app)
    assert not app.exception


def test_a_full_text_has_no_room(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    app.text_area[0].set_value("the cat sat " * 100).run()
    assert not app.exception
    assert "no position is left" in said(app) or "has room for" in said(app)


def test_a_long_table_is_sent_in_bins() -> None:
    from attnviz.attention.stack.map_tiles import Window, table_grid

    numbers = np.arange(600 * 300, dtype=np.float32).reshape(600, 300)
    numbers[0] = np.nan
    grid = table_grid(numbers, Window.whole(numbers.shape))
    assert (grid.query_step, grid.key_step) == (3, 2)
    assert grid.values[1, 1] == numbers[3:6, 2:4].max()
    assert grid.values[0, 0] == numbers[1:3, :2].max()
    numbers[:3] = np.nan
    assert np.isnan(table_grid(numbers, Window.whole(numbers.shape)).values[0]).all()

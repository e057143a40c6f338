"""Texts in which a head is strongest, against slow loops over the library's eager attention."""

from __future__ import annotations

import gc
import io
import json
import math
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import attnviz
from attnviz import Model, metrics
from attnviz.captures.forward_pass import Capture, encode
from attnviz.doctor.strongest_texts import text_search
from attnviz.doctor.strongest_texts.place_words import (
    listed_places,
    shown_positions,
    spread_sentence,
)
from attnviz.doctor.strongest_texts.row_measures import (
    is_lowest,
    measure_names,
    measures_of_kind,
)
from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.experiments.encoded_texts import WINDOW_TOKENS, encoded_texts
from attnviz.experiments.text_sets import Text, as_text_set
from attnviz.findings import Progress
from attnviz.metrics.sinks import sink_keys
from attnviz.models import CLASSROOM, Shipped
from attnviz.types import SINK_SHARE, Head, Kind
from tests.bounds import MODEL, MODEL_NATS
from tests.broken import with_number
from tests.metrics.definitions import PER_ROW, alpha
from tests.zoo import AUTO, eager_attentions

SENTENCES = (
    "A",
    "The red dog saw the blue bird. The red dog ran.",
    "Anna gave the ball to Ben. Then Ben gave the ball to Clara.",
    "One two three four. One two three",
    "The sky was grey, and the sea was grey, and we went home.",
)
LONG = "The fox ran to the river, saw the moon and sang. " * 8
PAIRS = (
    Text("The house is blue.", "La maison est bleue."),
    Text("I do not like cats.", "Je n'aime pas les chats."),
    Text("Hello.", "Bonjour."),
)
GPT = next(one for one in CLASSROOM if one.name == "gpt-classroom")


def texts_of(shipped: Shipped) -> list[Text]:
    """Return short texts; for a model with windows also one that is longer than them."""
    if shipped.family == "encoder-decoder":
        return list(PAIRS)
    longer = [LONG] if shipped.name == "llama-classroom" else []
    return [Text(one) for one in [*SENTENCES, *longer]]


@cache
def model_named(name: str) -> Model:
    return attnviz.load(name)


def visible_of(shipped: Shipped, kind: Kind, layer: int, queries: int, keys: int) -> np.ndarray:
    """Return the mask of visible keys, from what is known of the model."""
    rows, columns = np.arange(queries)[:, None], np.arange(keys)[None]
    if kind in ("encoder", "cross") or shipped.family == "encoder":
        return np.ones((queries, keys), bool)
    visible = columns <= rows
    if shipped.name == "llama-classroom" and layer in (1, 3):
        visible &= columns > rows - 64
    return np.asarray(visible)


class Eager:
    """Weights and scores of the library's eager attention on one text, with its tokens."""

    def __init__(self, shipped: Shipped, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_named(shipped.name)
        encoded = encode(model, shipped.prompt + text.source, target=text.target)
        network = AUTO[shipped.family].from_pretrained(
            shipped.folder, attn_implementation="eager", dtype=torch.float32
        )
        inputs = {"input_ids": torch.tensor([encoded.ids])}
        self.ids: dict[str, np.ndarray] = {"keys": np.array(encoded.ids)}
        if encoded.target is not None:
            inputs["decoder_input_ids"] = torch.tensor([encoded.target])
            self.ids["decoder"] = np.array(encoded.target)
        self.softmax_inputs: list[np.ndarray] = []
        softmax = torch.nn.functional.softmax

        def recorded(scores: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
            self.softmax_inputs.append(scores[0].double().numpy())
            return softmax(scores, *rest, **named)

        with monkeypatch.context() as patched:
            patched.setattr(torch.nn.functional, "softmax", recorded)
            attentions = eager_attentions(network.eval(), **inputs)
        self.weights = {
            kind: [one[0].double().numpy() for one in layers if one is not None]
            for kind, layers in attentions.items()
        }
        special = set(model.tokenizer.all_special_ids)
        self.special = {name: np.isin(ids, list(special)) for name, ids in self.ids.items()}

    def tokens(self, kind: Kind) -> tuple[str, str]:
        """Return which ids are the queries and which the keys of a kind."""
        return ("decoder" if kind in ("decoder", "cross") else "keys",
                "decoder" if kind == "decoder" else "keys")  # fmt: skip


def slow_rows(
    name: str, eager: Eager, shipped: Shipped, head: Head
) -> dict[int, tuple[float, int | None]]:
    """Return the value of every row that counts, and its key where the definition has only one."""
    queries, keys = eager.tokens(head.kind)
    weights = eager.weights[head.kind][head.layer][head.head]
    ids, special, key_special = eager.ids[queries], eager.special[queries], eager.special[keys]
    visible = visible_of(shipped, head.kind, head.layer, *weights.shape)
    rows: dict[int, tuple[float, int | None]] = {}
    aside = slow_sinks(weights, visible, head.kind)
    for row in range(len(weights)):
        if special[row] or visible[row].sum() < 2:
            continue
        if name in ("elsewhere", "score"):
            numbers = weights[row]
            if name == "score":
                numbers = eager.softmax_inputs[head.layer][head.head][row]
            best, place = -math.inf, None
            for key in range(len(numbers)):
                hidden = not visible[row, key] or key_special[key] or key in aside
                if head.kind != "cross":
                    hidden = hidden or key in (0, row)
                if not hidden and numbers[key] > best:
                    best, place = float(numbers[key]), key
            if place is not None:
                rows[row] = best, place
            continue
        neighbour = {"previous_token": row - 1, "next_token": row + 1}.get(name)
        if neighbour is not None and 0 <= neighbour < len(weights) and key_special[neighbour]:
            continue
        if name == "sink" and not can_rest(weights, visible):
            continue
        value = float(PER_ROW[name](weights, visible, ids, row))
        if not math.isnan(value):
            rows[row] = value, neighbour
    return rows


def slow_sinks(weights: np.ndarray, visible: np.ndarray, kind: Kind) -> list[int]:
    """Return the keys that most queries look at, besides the query at the same place."""
    if len(weights) < 2:
        return []
    seen, received, keys = visible.sum(0), alpha(weights, visible), []
    for key in range(weights.shape[1]):
        others = [row for row in range(len(weights)) if visible[row, key] and row != key]
        mean = sum(weights[row, key] for row in others) / max(len(others), 1)
        enough = 2 * seen[key] >= max(seen)
        square = weights.shape[0] == weights.shape[1]
        if enough and received[key] > SINK_SHARE and (not square or mean > SINK_SHARE):
            keys.append(key)
    return keys


def can_rest(weights: np.ndarray, visible: np.ndarray) -> bool:
    """Return whether any key can be a sink: not in a text of two tokens that look at themselves."""
    return len(weights) > 2 or len(weights) != weights.shape[1] or weights[1, 0] > SINK_SHARE


def bound(name: str) -> float:
    """Return how far two right runs may differ."""
    if name in ("entropy", "normalized_entropy", "mean_distance", "score"):
        return MODEL_NATS * (10 if name in ("mean_distance", "score") else 1)
    return MODEL


def chosen_heads(model: Model) -> Iterator[Head]:
    """Yield one head of each layer and two of the last, kind by kind."""
    for kind, (layers, heads) in model.info.heads.items():
        for layer in range(layers):
            yield Head(kind, layer, (3 * layer + 1) % heads)
        yield Head(kind, layers - 1, 0)


@pytest.mark.parametrize("shipped", CLASSROOM, ids=lambda one: one.name)
def test_places_equal_a_slow_loop(shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = model_named(shipped.name), texts_of(shipped)
    result = attnviz.strongest(model, texts, measures=measure_names(), count=3)
    assert result.heads == tuple(model.info.every_head())
    eagers = [Eager(shipped, text, monkeypatch) for text in texts]
    compared = 0
    for head in chosen_heads(model):
        for name in measures_of_kind(head.kind):
            if name == "score" and len(model.info.heads) > 1:
                continue  # three kinds share the calls of softmax
            sign = 1 if is_lowest(name) else -1
            slow = [slow_rows(name, eager, shipped, head) for eager in eagers]
            ranked = sorted(
                (min(sign * value for value, _ in rows.values()), number)
                for number, rows in enumerate(slow) if rows
            )  # fmt: skip
            places = result.places(head, name)
            assert len(places) == min(3, len(ranked))
            assert len({one.text for one in places}) == len(places)
            for place, (expected, _) in zip(places, ranked, strict=False):
                value, key = slow[place.text][place.query]
                assert place.value == pytest.approx(sign * expected, abs=bound(name))
                assert place.value == pytest.approx(value, abs=bound(name))
                weights = eagers[place.text].weights[head.kind][head.layer][head.head][place.query]
                np.testing.assert_allclose(place.weights, weights, atol=MODEL)
                assert place.weight == pytest.approx(weights[place.key], abs=MODEL)
                if key is not None:
                    assert weights[place.key] == pytest.approx(weights[key], abs=MODEL)
                compared += 1
            best = [min((sign * value for value, _ in rows.values()), default=math.nan) * sign
                    for rows in slow]  # fmt: skip
            np.testing.assert_allclose(result.per_text(head, name), best, atol=bound(name))
    assert compared > 50


@pytest.mark.parametrize("name", ["induction", "duplicate_token", "max_weight", "self", "sink"])
def test_the_key_is_the_one_that_the_measure_is_about(name: str) -> None:
    model = model_named("gpt-classroom")
    result = attnviz.strongest(model, list(SENTENCES), measures=[name])
    for head in result.heads:
        for place in result.places(head):
            stack = attnviz.capture(model, SENTENCES[place.text])["self"]
            weights = stack.weights(head.layer, head.head)[place.query]
            copies = [j for j in range(place.query)
                      if stack.key_tokens.ids[j] == stack.key_tokens.ids[place.query]]  # fmt: skip
            keys = {
                "induction": [j + 1 for j in copies],
                "duplicate_token": copies,
                "max_weight": range(len(weights)),
                "self": [place.query],
                "sink": [int(metrics.sink_key(stack)[head.layer, head.head])],
            }[name]
            assert place.key in keys
            assert weights[place.key] == pytest.approx(max(weights[key] for key in keys), abs=MODEL)


def test_sinks_are_set_aside() -> None:
    model = model_named("gpt-classroom")
    texts = [one for one in SENTENCES if len(one) > 1]
    result = attnviz.strongest(model, texts, measures=["elsewhere", "max_weight"], count=4)
    on_sinks = 0
    for head in result.heads:
        for place in result.places(head, "elsewhere"):
            stack = attnviz.capture(model, texts[place.text])["self"]
            assert place.key not in (0, place.query, *sink_keys(stack, head).tolist())
            assert not stack.key_tokens.special[place.key]
        for place in result.places(head, "max_weight"):
            on_sinks += place.key == 0
    assert on_sinks > 50  # nearly all heads are strongest there when sinks count


def uniform_model(folder: Path) -> Model:
    """Return a model whose scores are all 0: every row spreads its weight evenly."""
    copy = folder / "uniform"
    for layer in range(4):
        with_number(
            GPT.folder if not layer else copy.with_name(f"uniform{layer - 1}"),
            copy.with_name(f"uniform{layer}"),
            f"h.{layer}.attn.c_attn.weight",
            0.0,
            (slice(None), slice(None)),
        )
    last = copy.with_name("uniform3")
    for layer in range(4):
        with_number(last, copy.with_name(f"zero{layer}"), f"h.{layer}.attn.c_attn.bias", 0.0,
                    (slice(None),))  # fmt: skip
        last = copy.with_name(f"zero{layer}")
    return attnviz.load(str(last))


def test_equal_values_are_in_the_order_of_the_texts_and_rows(tmp_path: Path) -> None:
    model = uniform_model(tmp_path)
    texts = ["one two three", "a dog and a cat", "two one three", "three two one", "a cat and a"]
    head = Head("self", 2, 3)
    result = attnviz.strongest(model, texts, head=head, measures=["previous_token"])
    # The weight on the previous word is 1/3 in the row of every text's second word.
    assert [(one.text, one.query) for one in result.places()] == [(n, 2) for n in range(5)]
    np.testing.assert_allclose([one.value for one in result.places()], 1 / 3, atol=1e-6)
    fewer = attnviz.strongest(model, texts, head=head, measures=["previous_token"], count=2)
    assert [one.text for one in fewer.places()] == [0, 1]
    several = attnviz.strongest(
        model, texts[:2], head=head, measures=["previous_token"], count=3, one_per_text=False
    )
    assert [(one.text, one.query) for one in several.places()] == [(0, 2), (1, 2), (0, 3)]


def test_several_places_of_a_text_equal_its_strongest_rows() -> None:
    model, head = model_named("gpt-classroom"), Head("self", 1, 3)
    result = attnviz.strongest(
        model, list(SENTENCES), head=head, measures=["induction"], count=6, one_per_text=False
    )
    rows = []
    for number, text in enumerate(SENTENCES):
        values = metrics.per_row("induction", attnviz.capture(model, text)["self"])[1, 3]
        rows += [(-value, number, row) for row, value in enumerate(values) if not np.isnan(value)]
    assert [(one.text, one.query) for one in result.places()] == [
        (number, row) for _, number, row in sorted(rows)[:6]
    ]
    assert len({one.text for one in result.places()}) < 6


def test_one_head_has_the_places_that_it_has_among_all() -> None:
    model, head = model_named("llama-classroom"), Head("self", 2, 1)
    alone = attnviz.strongest(model, list(SENTENCES), head=head, count=3)
    all_heads = attnviz.strongest(model, list(SENTENCES), count=3)
    assert alone.heads == (head,)
    assert [(one.text, one.query, one.key, one.value) for one in alone.places()] == [
        (one.text, one.query, one.key, one.value) for one in all_heads.places(head)
    ]
    np.testing.assert_array_equal(alone.per_text(), all_heads.per_text(head))
    with pytest.raises(InputError, match="was not searched"):
        alone.places(Head("self", 0, 0))
    with pytest.raises(InputError, match="32 heads were searched"):
        all_heads.places()


def test_texts_that_are_too_short_have_no_place_and_are_counted() -> None:
    model, head = model_named("gpt-classroom"), Head("self", 1, 3)
    result = attnviz.strongest(model, ["A", "B", SENTENCES[1]], head=head)
    assert [one.text for one in result.places()] == [2]
    assert np.isnan(result.per_text()[:2]).all() and result.spread().texts == 1
    assert result.reason() == ("2 of 3 texts have no row in which Weight beside sinks is defined")
    assert "in one text" in spread_sentence(result, head, "elsewhere")
    nothing = attnviz.strongest(model, ["A", "B"], head=head)
    assert nothing.places() == () and math.isnan(nothing.spread().mean)
    assert nothing.reason().startswith("no text has a row")
    assert listed_places(nothing, "elsewhere").startswith("No text has a row")


def test_a_head_with_nan_has_no_place_and_a_reason(tmp_path: Path) -> None:
    head = Head("self", 3, 5)
    width = model_named("gpt-classroom").network.config.n_embd // 8
    queries = slice(head.head * width, (head.head + 1) * width)
    broken = with_number(
        GPT.folder, tmp_path / "nan", "h.3.attn.c_attn.weight", math.nan, (0, queries)
    )
    model = attnviz.load(str(broken))
    texts = [one for one in SENTENCES if len(one) > 1]
    result = attnviz.strongest(model, texts, measures=["elsewhere", "entropy"])
    for name in ("elsewhere", "entropy"):
        assert result.places(head, name) == ()
        assert np.isnan(result.per_text(head, name)).all()
        assert "computes NaN or infinity on every text" in result.reason(head, name)
        assert len(result.places(Head("self", 2, 1), name)) == len(texts)
        assert result.reason(Head("self", 2, 1), name) == ""
    assert result.not_finite["self"].sum() == result.not_finite["self"][3, 5] == len(texts)
    written = json.dumps(result.plain(), allow_nan=False)
    assert "NaN or infinity" in written


def test_a_long_text_has_its_strongest_window() -> None:
    model, head = model_named("gpt-classroom"), Head("self", 1, 3)
    room = min(model.info.max_tokens or WINDOW_TOKENS, WINDOW_TOKENS)
    long = "Nothing here comes back twice, or so it seems to us. " * 10 + LONG * 6
    result = attnviz.strongest(model, ["A", long], head=head, measures=["induction"])
    (place,) = result.places()
    assert place.text == 1 and "read in windows" in result.notes[0]
    values = []
    for one in encoded_texts(model, as_text_set([long], "decoder")):
        assert len(one.encoded.ids) <= room
        stack = attnviz.capture(model, one.source)["self"]
        values.append(np.nanmax(metrics.per_row("induction", stack)[1, 3], initial=-1.0))
    assert len(values) > 1
    assert place.value == pytest.approx(max(values), abs=MODEL)
    assert place.read.window == int(np.argmax(values))
    shown = attnviz.capture(model, place.read.source)["self"]
    assert shown.query_tokens.labels == place.query_tokens.labels
    with pytest.raises(TextTooLong, match="text 2 has"):
        attnviz.strongest(model, ["A", long], head=head, long="refuse")


def test_texts_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_named("gpt-classroom")
    alive: list[weakref.ref[Capture]] = []
    sizes: list[int] = []
    whole = text_search.capture_ids

    def counted(*arguments: Any, **named: Any) -> list[Capture]:
        gc.collect()
        sizes.append(sum(one() is not None for one in alive))
        captures = whole(*arguments, **named)
        alive.extend(map(weakref.ref, captures))
        return captures

    monkeypatch.setattr(text_search, "capture_ids", counted)
    monkeypatch.setattr(text_search, "AT_A_TIME", 4)
    texts = [f"Text {number}. {SENTENCES[1]}" for number in range(40)]
    result = attnviz.strongest(model, texts, measures=["elsewhere", "induction"])
    assert len(alive) == 40 and len(sizes) >= 10
    assert max(sizes) <= 4
    for place in result.places(Head("self", 1, 3), "induction"):
        assert place.weights.ndim == 1  # one row of weights, no map


def test_progress_is_reported_and_cancels() -> None:
    model = model_named("gpt-classroom")
    shares: list[float] = []

    class Stop(Exception):
        pass

    attnviz.strongest(model, list(SENTENCES), progress=lambda now: shares.append(now.share))
    assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)

    def stop(now: Progress) -> None:
        if now.share > 0.3:
            raise Stop

    with pytest.raises(Stop):
        attnviz.strongest(model, list(SENTENCES), progress=stop)


def test_targets_that_the_model_writes_delay_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_named("t5-classroom")
    texts = [f"The house number {number} is blue." for number in range(20)]
    written, longest, last = 0, 0, 0
    encoded_by = text_search.encoded_texts

    def counted(*arguments: Any, **named: Any) -> Iterator[Any]:
        nonlocal written
        for one in encoded_by(*arguments, **named):
            written += 1
            yield one

    def report(now: Progress) -> None:
        nonlocal longest, last
        longest, last = max(longest, written - last), written

    monkeypatch.setattr(text_search, "encoded_texts", counted)
    result = attnviz.strongest(model, texts, count=2, progress=report)
    assert written == 20 and longest <= text_search.WRITTEN_AT_A_TIME + 1
    assert {one.read.target for one in result.places(Head("cross", 0, 1))} == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ["nothing"]}, "there is no measure 'nothing'"),
        ({"measures": []}, "no measure is given"),
        ({"head": Head("self", 9, 0)}, "there is no head L9·H0"),
        ({"head": Head("cross", 0, 0)}, "there is no head cross"),
        ({"count": 0}, "at least one place"),
        ({"long": "cut"}, "'windows' or 'refuse'"),
    ],
)
def test_what_cannot_be_searched_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attnviz.strongest(model_named("gpt-classroom"), list(SENTENCES), **options)


def test_no_text_is_refused() -> None:
    with pytest.raises(EmptyText):
        attnviz.strongest(model_named("gpt-classroom"), [" "])


def test_a_measure_that_cross_attention_does_not_have_gives_no_place() -> None:
    result = attnviz.strongest(model_named("t5-classroom"), list(PAIRS), measures=["induction"])
    cross = Head("cross", 0, 1)
    assert result.places(cross) == ()
    assert result.reason(cross) == ("no text has a row in which Induction is defined for this head")
    assert "induction" not in measures_of_kind("cross") and "self" in measures_of_kind("encoder")


def test_the_spread_is_that_of_the_texts() -> None:
    model, head = model_named("gpt-classroom"), Head("self", 1, 3)
    result = attnviz.strongest(model, head=head, measures=["induction"])
    values = sorted(result.per_text().tolist())
    spread = result.spread()
    assert spread.texts == 60 == len(values)
    assert spread.mean == pytest.approx(sum(values) / 60)
    assert (spread.lowest, spread.highest) == (values[0], values[-1])
    assert spread.median == pytest.approx((values[29] + values[30]) / 2)
    assert spread.highest == result.places()[0].value
    said = spread_sentence(result, head, "induction")
    assert f"{spread.highest:.3f}" in said and f"{spread.median:.3f}" in said
    assert f"{spread.mean:.3f}" in said


def test_files_have_every_place(tmp_path: Path) -> None:
    model = model_named("t5-classroom")
    result = attnviz.strongest(model, list(PAIRS), measures=["elsewhere", "entropy"], count=2)
    result.to_json(tmp_path / "places.json")
    result.to_csv(tmp_path / "places.csv")
    written = json.loads((tmp_path / "places.json").read_text("utf-8"))
    table = pd.read_csv(io.StringIO((tmp_path / "places.csv").read_text("utf-8")))
    assert len(written["heads"]) == 2 * len(result.heads)
    places = sum(len(one["places"]) for one in written["heads"])
    assert places == len(table) == sum(
        len(result.places(head, name)) for head in result.heads for name in result.measures
    )  # fmt: skip
    first = written["heads"][0]["places"][0]
    place = result.places(result.heads[0], "elsewhere")[0]
    assert first["query_token"] == place.query_tokens.labels[place.query]
    assert first["value"] == pytest.approx(place.value)
    assert list(result.table(result.heads[0])["text"]) == [
        one.text for one in result.places(result.heads[0])
    ]


def test_excerpts_have_the_tokens_around_both_marks() -> None:
    assert shown_positions([3], 5) == [0, 1, 2, 3, 4]
    assert shown_positions([20, 50], 100) == [
        None, *range(14, 27), None, *range(44, 57), None,
    ]  # fmt: skip
    assert shown_positions([0, 10], 17) == [*range(17)]
    lines = listed_places(
        attnviz.strongest(
            model_named("gpt-classroom"), [SENTENCES[1]], head=Head("self", 1, 3),
            measures=["induction"],
        ),
        "induction",
    )  # fmt: skip
    assert "*red*" in lines or "*The*" in lines or "*dog*" in lines
    assert "[" in lines and "]" in lines

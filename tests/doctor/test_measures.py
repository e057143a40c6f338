"""Measures of the doctor against plain loops over the library's weights, in padded batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention import Additions
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.doctor.measures.alignment_heads import (
    DEPENDS_FROM,
    alignment,
    costs_of_hiding,
    read_alignment,
)
from attnviz.doctor.measures.pattern_tests import on_copies, read_pairs, read_repeats
from attnviz.doctor.measures.students_t import t_quantile
from attnviz.doctor.measures.text_measures import batch_tokens, read_texts
from attnviz.doctor.measures.window_measures import (
    content_dependence,
    cut_to_windows,
    likeness,
    read_windows,
)
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.text_sets import bundled
from attnviz.metrics import jensen_shannon
from attnviz.models import Model
from attnviz.types import Kind
from tests.bounds import SAME
from tests.zoo import Pair, eager_attentions, inputs_of, random_ids, random_texts

NAMES = ("gpt2", "bert", "t5", "llama", "mistral")
LENGTHS = (11, 7, 14)


def nothing(share: float) -> None:
    """Progress that is not shown."""


def output_matrices(pair: Pair) -> dict[Kind, list[np.ndarray]]:
    """[layer] of [head, value_dim, out], found by the names that each architecture gives them."""
    network = pair.eager

    def cut(weight: torch.Tensor, heads: int) -> np.ndarray:
        wide = weight.detach().numpy()
        return wide.reshape(heads, -1, wide.shape[1])

    sizes = pair.model.info.heads
    if network.config.model_type == "gpt2":
        blocks = [block.attn.c_proj.weight for block in network.transformer.h]
        return {"self": [cut(one, sizes["self"][1]) for one in blocks]}
    if network.config.model_type == "bert":
        blocks = [one.attention.output.dense.weight.T for one in network.bert.encoder.layer]
        return {"self": [cut(one, sizes["self"][1]) for one in blocks]}
    if network.config.model_type == "t5":
        return {
            "encoder": [
                cut(block.layer[0].SelfAttention.o.weight.T, 4) for block in network.encoder.block
            ],
            "decoder": [
                cut(block.layer[0].SelfAttention.o.weight.T, 4) for block in network.decoder.block
            ],
            "cross": [
                cut(block.layer[1].EncDecAttention.o.weight.T, 4) for block in network.decoder.block
            ],
        }
    blocks = [one.self_attn.o_proj.weight.T for one in network.model.layers]
    return {"self": [cut(one, sizes["self"][1]) for one in blocks]}


def causal(pair: Pair, kind: Kind) -> bool:
    return kind == "decoder" or (kind == "self" and pair.model.info.family == "decoder")


def seen(pair: Pair, kind: Kind, layer: int, queries: int, keys: int) -> np.ndarray:
    """Return how many keys each query may see."""
    window = getattr(pair.eager.config, "sliding_window", None)
    counts = [
        (min(row + 1, window or row + 1) if causal(pair, kind) else keys) for row in range(queries)
    ]
    return np.asarray(counts)


def resting(encoded: Encoded, kind: Kind, special: set[int]) -> list[int]:
    ids = encoded.target if kind == "decoder" else encoded.ids
    assert ids is not None
    return [place for place, one in enumerate(ids) if place == 0 or one in special]


def with_specials(pair: Pair, texts: list[Encoded]) -> list[Encoded]:
    """Return the texts with the ending token of the tokenizer, where it has one."""
    tokenizer = pair.model.tokenizer
    ending = tokenizer.sep_token_id or tokenizer.eos_token_id
    if pair.model.info.family == "decoder" or ending is None:
        return texts
    return [replace(one, ids=(*one.ids[:-1], ending)) for one in texts]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_measured_on_texts(name: str, zoo: Callable[[str], Pair]) -> None:
    pair = zoo(name)
    model = pair.model
    texts = with_specials(pair, random_texts(model, LENGTHS))
    tables = read_texts(model, texts, HookedModel.of(model).projections(), nothing)
    matrices = output_matrices(pair)
    special = set(model.tokenizer.all_special_ids)
    for number, encoded in enumerate(texts):
        inputs = inputs_of(model, [encoded])
        weights = eager_attentions(pair.eager, **inputs)
        with torch.inference_mode():
            states = pair.eager(**inputs, output_hidden_states=True)
        alone = capture_ids(model, [encoded], predict=False)[0]
        for kind, stack in alone.stacks.items():
            prefix = "" if kind == "self" else "encoder_" if kind == "encoder" else "decoder_"
            stream = states[f"{prefix}hidden_states"]
            places = resting(encoded, kind, special)
            for layer, head in np.ndindex(*stack.shape[:2]):
                numbers = {
                    key: float(table[layer, head, number]) for key, table in tables[kind].items()
                }
                matrix = weights[kind][layer][0, head].double().numpy()
                expected = slow_measures(
                    matrix,
                    seen(pair, kind, layer, *matrix.shape),
                    stack.value(layer, head).astype(float),
                    matrices[kind][layer][head].astype(float),
                    stream[layer][0].double().numpy(),
                    places,
                )
                for key, value in expected.items():
                    assert numbers[key] == pytest.approx(value, rel=2e-3, abs=2e-4, nan_ok=True), (
                        key
                    )


def slow_measures(
    weights: np.ndarray,
    visible: np.ndarray,
    values: np.ndarray,
    matrix: np.ndarray,
    stream: np.ndarray,
    places: Sequence[int],
) -> dict[str, float]:
    """Compute every measure from its definition, one row and one key at a time."""
    queries, keys = weights.shape
    entropies, rests, elsewhere = [], [], []
    for row in range(queries):
        if visible[row] < 2:
            continue
        entropy = -sum(float(w) * math.log(w) for w in weights[row] if w > 0)
        entropies.append(entropy / math.log(visible[row]))
        rest = sum(float(weights[row, key]) for key in places)
        rests.append(rest)
        elsewhere.append(rest < 0.5)
    lengths = [float(np.linalg.norm(values[key] @ matrix)) for key in range(keys)]
    moved = [sum(weights[:, key]) * lengths[key] for key in range(keys)]
    shares = []
    for row in range(queries):
        added = sum(weights[row, key] * (values[key] @ matrix) for key in range(keys))
        shares.append(float(np.linalg.norm(added) / np.linalg.norm(stream[row])))
    behind = [key for key in places if key > 0]
    return {
        "lowest_entropy": float(np.quantile(entropies, 0.1)),
        "rest": sum(rests) / len(rests),
        "rows_elsewhere": sum(elsewhere) / len(elsewhere),
        "sink_value_share": sum(moved[key] for key in places) / sum(moved),
        "output_share": sum(shares) / len(shares),
        "separators": sum(float(weights[:, key].sum()) for key in behind) / queries
        if behind
        else math.nan,
    }


def test_registry_metrics_are_those_of_a_summary(gpt: Model) -> None:
    texts = random_texts(gpt, LENGTHS)
    tables = read_texts(gpt, texts, HookedModel.of(gpt).projections(), nothing)
    for number, encoded in enumerate(texts):
        summary = attnviz.summarize(capture_ids(gpt, [encoded], predict=False)[0])
        for name in attnviz.metrics.names():
            measured = tables["self"][name][..., number].ravel()
            assert np.allclose(measured, summary[name], atol=1e-5, equal_nan=True), name


def test_more_tokens_than_fit_at_a_time_give_the_same(
    gpt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = random_texts(gpt, LENGTHS)
    projections = HookedModel.of(gpt).projections()
    whole = read_texts(gpt, texts, projections, nothing)
    monkeypatch.setattr("attnviz.doctor.measures.text_measures.KEPT_NUMBERS", 1)
    monkeypatch.setattr("attnviz.doctor.measures.text_measures.FEWEST_TOKENS", 15)
    assert batch_tokens(gpt) == 15
    reports: list[float] = []
    parts = read_texts(gpt, texts, projections, reports.append)
    assert reports == sorted(reports) and reports[-1] == 1.0 and len(reports) == 3
    for name, table in whole["self"].items():
        assert np.allclose(table, parts["self"][name], atol=2e-5, equal_nan=True), name


def test_what_cannot_be_followed_to_the_stream_is_not_measured(
    gpt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = random_texts(gpt, LENGTHS)
    # Nothing reaches the stream: the attention's output is lost in an operation that is not linear.
    monkeypatch.setattr(Additions, "_parts", lambda *_: None)
    unknown = HookedModel.of(gpt).projections()
    assert unknown == {"self": (None,) * 3}
    tables = read_texts(gpt, texts, unknown, nothing)
    for name in ("sink_value_share", "output_share"):
        assert np.isnan(tables["self"][name]).all()
    assert not np.isnan(tables["self"]["rest"]).any()
    windows = read_windows(gpt, cut_to_windows(gpt, texts), nothing)
    assert np.isnan(windows.output_cosine["self"]).all()
    assert not np.isnan(windows.head_distance["self"]).any()


# what a text decides


def slow_dependence(weights: np.ndarray) -> float:
    """H(mean over texts) - mean over texts of H, mean over rows, in plain loops."""

    def entropy(row: np.ndarray) -> float:
        return -sum(float(p) * math.log(p) for p in row if p > 0)

    texts, rows, _ = weights.shape
    total = 0.0
    for row in range(rows):
        mean = sum(weights[text, row] for text in range(texts)) / texts
        mean_entropy = sum(entropy(weights[text, row]) for text in range(texts)) / texts
        total += entropy(mean) - mean_entropy
    return total / rows


def slow_jackknife(weights: np.ndarray) -> float:
    """Return the mean of the pseudo-values of `slow_dependence`."""
    texts, whole = len(weights), slow_dependence(weights)
    without = [slow_dependence(np.delete(weights, text, axis=0)) for text in range(texts)]
    return texts * whole - (texts - 1) * sum(without) / texts


def random_rows(texts: int, rows: int, keys: int, sharp: float) -> np.ndarray:
    scores = sharp * np.random.default_rng(5).normal(size=(texts, rows, keys))
    exponentials = np.exp(scores)
    return (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("sharp", [0.1, 1.0, 5.0])
def test_dependence_on_the_text_is_the_corrected_mutual_information(sharp: float) -> None:
    weights = random_rows(12, 5, 7, sharp)
    mean, low, high, spread, texts = content_dependence(weights)
    whole = slow_dependence(weights)
    pseudo = [
        12 * whole - 11 * slow_dependence(np.delete(weights, text, axis=0)) for text in range(12)
    ]
    center = sum(pseudo) / 12
    error = math.sqrt(sum((one - center) ** 2 for one in pseudo) / 11 / 12)
    assert mean == pytest.approx(center, abs=1e-5)
    assert low == pytest.approx(max(center - 2.201 * error, 0), abs=1e-4)  # t table, 11 degrees
    assert high == pytest.approx(center + 2.201 * error, abs=1e-4)
    assert low <= mean <= high
    assert texts == 12 and spread > 0


def population(kinds: int, rows: int, keys: int) -> tuple[np.ndarray, float]:
    """Return equally likely texts, and their mutual information with the key in nats."""
    weights = np.zeros((kinds, rows, keys))
    choice = np.random.default_rng(2).integers(0, keys, (kinds, rows))
    for kind, row in np.ndindex(kinds, rows):
        weights[kind, row, choice[kind, row]] = 0.7
        weights[kind, row] += 0.3 / keys
    return weights, slow_dependence(weights)


@pytest.mark.parametrize(("texts", "covered"), [(10, 0.8), (30, 0.87), (60, 0.88)])
def test_few_texts_do_not_make_dependence_smaller(texts: int, covered: float) -> None:
    weights, truth = population(200, 6, 9)
    draw = np.random.default_rng(texts)
    corrected, plain, inside = [], [], 0
    for _ in range(200):
        sample = weights[draw.integers(0, 200, texts)]
        mean, low, high, _, _ = content_dependence(sample)
        corrected.append(mean)
        flat = sample.reshape(texts, -1)
        plain.append(float((-np.log(flat.mean(0)) * flat.mean(0)).sum() / 6))
        inside += low <= truth <= high
    entropy = float((-np.log(weights[0]) * weights[0]).sum() / 6)
    bias = abs(np.mean(corrected) / truth - 1)
    assert bias < abs((np.mean(plain) - entropy) / truth - 1) / 3
    assert bias < 0.03
    # 200 samples: a standard error of 0.02 to 0.03 below the nominal 0.95 less what few texts cost
    assert inside / 200 > covered


def test_students_t_is_that_of_the_tables() -> None:
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045, 59: 2.001, 10**6: 1.960}
    for degrees, wanted in table.items():
        assert t_quantile(degrees) == pytest.approx(wanted, rel=6e-3 if degrees == 3 else 2e-3)
    with pytest.raises(ValueError, match="at least one"):
        t_quantile(0)


def test_dependence_has_its_ends() -> None:
    same = np.repeat(random_rows(1, 5, 7, 2.0), 9, axis=0)
    assert content_dependence(same)[0] == pytest.approx(0.0, abs=SAME)
    each_its_own = np.zeros((6, 4, 6), np.float32)
    for text in range(6):
        each_its_own[text, :, text] = 1.0
    # Six texts that never agree: the population may have many more kinds, and its number is larger.
    assert content_dependence(each_its_own)[0] > math.log(6)
    assert math.isnan(content_dependence(same[:1])[0])


def test_windows_are_the_beginnings_with_their_special_tokens(bert: Model, t5: Model) -> None:
    tokenizer = bert.tokenizer
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    texts = [
        Encoded((first, *random_ids(bert, length, seed), last))
        for seed, length in enumerate((6, 9, 9, 12, 3))
    ]
    windows = cut_to_windows(bert, texts)
    assert {len(one.ids) for one in windows} == {8}
    assert len(windows) == 4
    for window, text in zip(windows, texts, strict=False):
        assert window.ids == (*text.ids[:7], last)
    long = [Encoded(random_ids(bert, 60, seed)) for seed in range(3)]
    assert {len(one.ids) for one in cut_to_windows(bert, long)} == {24}
    both = cut_to_windows(t5, random_texts(t5, (12, 12, 14, 16)))
    assert {(len(one.ids), len(one.target or ())) for one in both} == {(12, 7)}


def test_no_windows_where_texts_cannot_be_compared(gpt: Model) -> None:
    short = random_texts(gpt, (3, 3, 2))
    one = random_texts(gpt, (12,))
    alike = [Encoded((*random_ids(gpt, 30), number)) for number in (6, 7, 8)]
    for texts in (short, one, alike):
        assert cut_to_windows(gpt, texts) == ()
    empty = read_windows(gpt, (), nothing)
    assert empty.texts == 0 and not empty.dependence


def test_likeness_counts_equal_tokens_at_equal_places() -> None:
    windows = [Encoded((5, 6, 7, 8)), Encoded((5, 6, 9, 9)), Encoded((5, 1, 7, 2))]
    assert likeness(windows) == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)
    assert math.isnan(likeness(windows[:1]))


@pytest.mark.parametrize("name", NAMES)
def test_heads_are_compared_over_windows(name: str, zoo: Callable[[str], Pair]) -> None:
    pair = zoo(name)
    model = pair.model
    windows = cut_to_windows(model, random_texts(model, (12, 13, 14, 12)))
    assert len(windows) >= 3
    compared = read_windows(model, windows, nothing)
    matrices = output_matrices(pair)
    for kind in model.info.heads:
        layers, heads = model.info.heads[kind]
        maps, values = [], []
        for window in windows:
            eager = eager_attentions(pair.eager, **inputs_of(model, [window]))[kind]
            maps.append(torch.stack(eager)[:, 0].numpy())
            stack = capture_ids(model, [window], predict=False)[0][kind]
            values.append([[stack.value(*cell) for cell in np.ndindex(1, heads)]])
        choice = [seen(pair, kind, layer, *maps[0].shape[2:]) > 1 for layer in range(layers)]
        for layer, head in np.ndindex(layers, heads):
            rows = np.stack([one[layer, head][choice[layer]] for one in maps])
            expected = max(slow_jackknife(rows), 0.0)
            assert compared.dependence[kind].mean[layer, head] == pytest.approx(expected, abs=1e-4)
            for other in range(heads):
                apart = [
                    jensen_shannon(one[layer, head], one[layer, other])[choice[layer]].mean()
                    for one in maps
                ]
                got = compared.head_distance[kind][layer, head, other]
                assert np.allclose(got, apart, atol=2e-4)
        for number, window in enumerate(windows):
            stack = capture_ids(model, [window], predict=False)[0][kind]
            layer = layers - 1
            added = [
                maps[number][layer, head] @ stack.value(layer, head) @ matrices[kind][layer][head]
                for head in range(heads)
            ]
            for one, other in np.ndindex(heads, heads):
                cosines = [
                    float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                    for a, b in zip(added[one], added[other], strict=True)
                ]
                got = compared.output_cosine[kind][layer, one, other, number]
                assert got == pytest.approx(sum(cosines) / len(cosines), abs=1e-3)


# experiments


def test_repeated_random_tokens(gpt: Model) -> None:
    tables = read_repeats(gpt, nothing)["self"]
    assert set(tables) == {"repeat_induction", "repeat_duplicate", "repeat_previous"}
    capture = attnviz.experiments.repetition.repeat_random(
        gpt, period=25, sequences=1, seed=3
    ).capture
    stack = capture["self"]
    begin = stack.shape[2] - 50
    ids = stack.query_tokens.ids
    for layer, head in np.ndindex(*stack.shape[:2]):
        weights = stack.weights(layer, head)
        sums = {"repeat_induction": 0.0, "repeat_duplicate": 0.0, "repeat_previous": 0.0}
        for row in range(begin + 25, begin + 50):
            for key in range(row):
                if ids[key] == ids[row]:
                    sums["repeat_induction"] += weights[row, key + 1] / 25
                    sums["repeat_duplicate"] += weights[row, key] / 25
            sums["repeat_previous"] += weights[row, row - 1] / 25
        for name, value in sums.items():
            assert tables[name][layer, head, 3] == pytest.approx(value, abs=1e-4)


def test_pairs_of_sentences_with_the_same_words(bert: Model, gpt: Model) -> None:
    stack = capture_ids(bert, [Encoded((2, 9, 8, 9, 3, 8, 9, 7, 3))], predict=False)[0]["self"]
    half = np.asarray([0, 1, 1, 1, 0, 2, 2, 2, 0])
    on_equal_words = on_copies(stack, half)
    wanted = {1: [6], 2: [5], 3: [6], 5: [2], 6: [1, 3]}  # row 7 has no copy
    for layer, head in np.ndindex(*stack.shape[:2]):
        weights = stack.weights(layer, head)
        rows = [sum(weights[row, key] for key in keys) for row, keys in wanted.items()]
        assert on_equal_words[layer, head] == pytest.approx(sum(rows) / 5, abs=SAME)
    texts = [text.source for text in bundled("encoder").texts[:5]]
    table = read_pairs(bert, texts, nothing)["self"]["pair_duplicate"]
    assert table.shape[-1] == 5 and not np.isnan(table).any()
    assert np.array_equal(table, read_pairs(bert, texts, nothing)["self"]["pair_duplicate"])
    assert read_pairs(gpt, texts, nothing) == {}
    assert read_repeats(bert, nothing) == {}


def test_costs_of_hiding_a_source_token(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("t5")
    encoded = replace(random_texts(pair.model, (9,))[0], closing=7)
    assert encoded.target is not None
    places = np.asarray([1, 4, 8])
    costs = costs_of_hiding(pair.model, encoded, places)
    came = (*encoded.target[1:], 7)

    def losses(hidden: int | None) -> list[float]:
        inputs = inputs_of(pair.model, [encoded])
        if hidden is not None:
            inputs["attention_mask"][0, hidden] = 0
        with torch.inference_mode():
            chances = pair.eager(**inputs).logits[0].log_softmax(-1)
        return [-float(chances[row, one]) for row, one in enumerate(came)]

    whole = losses(None)
    for number, place in enumerate(places):
        expected = [one - other for one, other in zip(losses(int(place)), whole, strict=True)]
        assert np.allclose(costs[number], expected, atol=1e-3)


def test_alignment_is_weight_on_what_the_prediction_hangs_on(t5: Model) -> None:
    stack = capture_ids(t5, random_texts(t5, (9,)), predict=False)[0]["cross"]
    rows = stack.shape[2]
    places = np.asarray([2, 3, 7])
    costs = np.zeros((3, rows), np.float32)
    costs[1, 0] = DEPENDS_FROM + 1
    costs[0, 2], costs[2, 2] = DEPENDS_FROM + 1, DEPENDS_FROM + 2
    costs[0, 1] = DEPENDS_FROM - 0.1  # too little to count
    means = alignment(stack, costs, places)
    for layer, head in np.ndindex(*stack.shape[:2]):
        weights = stack.weights(layer, head)
        assert means[layer, head] == pytest.approx((weights[0, 3] + weights[2, 7]) / 2, abs=SAME)
    assert np.isnan(alignment(stack, np.zeros((3, rows), np.float32), places)).all()


def test_alignment_needs_cross_attention_and_a_trained_head(gpt: Model, t5: Model) -> None:
    assert read_alignment(gpt, random_texts(gpt, (9,)), nothing) == {}
    untrained = replace(t5, predicts=False)
    assert read_alignment(untrained, random_texts(t5, (9,)), nothing) == {}


def test_the_classroom_heads_show_in_the_experiments() -> None:
    gpt = attnviz.load("gpt-classroom")
    induction = read_repeats(gpt, nothing)["self"]["repeat_induction"].mean(-1)
    assert induction[1, 0] > 0.8 and induction[0].max() < 0.1
    bert = attnviz.load("bert-classroom")
    texts = [text.source for text in bundled("encoder").texts[:8]]
    same = read_pairs(bert, texts, nothing)["self"]["pair_duplicate"].mean(-1)
    assert same[0, 1] > 0.5 and same[3].max() < 0.1

"""Curves hold the numbers that captures, and the library's own weights, give for that model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

import attnviz
from attnviz import AttentionMonitor
from attnviz.models import instrument
from attnviz.monitor.probe import PERIOD, TEXTS, make_probe
from tests.bounds import MODEL, SAME
from tests.experiments.unshared_albert import unshared
from tests.monitor.runs import small_gpt
from tests.vocabularies import vocabulary
from tests.zoo import Pair, random_ids

TWO = ["The cat sat on the mat.", "Mary gave John a drink, and John gave it back to Mary again."]


def of_texts(model: attnviz.Model, metric: str, kind: str = "self") -> np.ndarray:
    """[layer, head], the mean over the captures of two texts."""
    tables = [
        attnviz.metrics.per_head(metric, one[kind]) for one in attnviz.capture_many(model, TWO)
    ]
    return np.mean(tables, axis=0)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "gemma2", "jamba", "roberta"])
def test_on_texts_they_are_those_of_capture_many(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    monitor = AttentionMonitor(TWO, tokenizer=model.tokenizer, per_head=True)
    row = monitor.probe(model.network, 7)
    for metric in ("entropy", "normalized_entropy", "sink"):
        table = of_texts(model, metric)
        for layer, heads in enumerate(table):
            assert row[f"attention/{metric}/L{layer}"] == pytest.approx(heads.mean(), abs=MODEL)
            for head, value in enumerate(heads):
                assert row[f"attention/{metric}/L{layer}.H{head}"] == pytest.approx(
                    value, abs=MODEL
                )
    kept = monitor.heads
    assert (kept["step"] == 7).all() and len(kept) == of_texts(model, "sink").size
    assert np.allclose(kept["sink"], of_texts(model, "sink").ravel(), atol=MODEL)


def test_layers_of_one_block_are_watched_while_it_is_trained(zoo: Callable[[str], Pair]) -> None:
    """The model of an ALBERT that is trained stays as it is; what is measured follows its steps."""
    network, tokenizer = copy.deepcopy(zoo("albert").eager), zoo("albert").model.tokenizer
    separate = unshared(network)
    monitor = AttentionMonitor(TWO, tokenizer=tokenizer, per_head=True)
    ids = torch.tensor([random_ids(zoo("albert").model, 12)])
    rows = []
    for step in range(2):
        rows.append(monitor.probe(network, step))
        assert network.config._attn_implementation == "eager"
        separate.load_state_dict(unshared(network).state_dict())
        again = AttentionMonitor(TWO, tokenizer=tokenizer, per_head=True).probe(separate, step)
        assert rows[-1].keys() == again.keys() and any("L2.H3" in name for name in again)
        for name, value in again.items():
            assert rows[-1][name] == pytest.approx(value, abs=10 * MODEL), name
        network(ids, labels=ids).loss.backward()
        torch.optim.SGD(network.parameters(), lr=0.5).step()
    apart = [abs(rows[0][name] - rows[1][name]) for name in rows[0] if "entropy" in name]
    assert max(apart) > 100 * MODEL


def test_patterns_are_those_of_a_loop_over_the_librarys_own_weights() -> None:
    network = small_gpt()
    row = AttentionMonitor(per_head=True).probe(network, 0)
    with torch.random.fork_rng():
        probe = make_probe(instrument(small_gpt()), None)
    network.set_attn_implementation("eager")
    network.eval()
    sums = {"induction": 0.0, "duplicate_token": 0.0, "previous_token": 0.0, "entropy": 0.0}
    for one in probe.sequences:
        ids = one.ids
        assert len(ids) == 1 + 2 * PERIOD and ids[0] == 0 and 0 not in ids[1:]
        assert ids[1 : 1 + PERIOD] == ids[1 + PERIOD :] and len(set(ids[1:])) == PERIOD
        with torch.no_grad():
            out = network(torch.tensor([ids]), output_attentions=True)
        weights = out.attentions[1][0, 1].double()
        second = range(1 + PERIOD, len(ids))
        sums["duplicate_token"] += np.mean([weights[i, i - PERIOD].item() for i in second])
        sums["induction"] += np.mean([weights[i, i - PERIOD + 1].item() for i in second])
        sums["previous_token"] += np.mean([weights[i, i - 1].item() for i in range(1, len(ids))])
        sums["entropy"] += -torch.special.xlogy(weights, weights).sum(-1).mean().item()
    for metric, total in sums.items():
        mean = total / len(probe.sequences)
        assert row[f"attention/{metric}/L1.H1"] == pytest.approx(mean, abs=SAME), metric
    tables = [[row[f"attention/induction/L{i}.H{j}"] for j in range(2)] for i in range(2)]
    assert row["attention/induction/L0"] == max(tables[0])  # the layer's best head
    assert row["attention/induction/max"] == max(map(max, tables))


def test_a_decoder_with_a_tokenizer_reads_repeats_and_texts(gpt: attnviz.Model) -> None:
    probe = make_probe(gpt, None)
    assert probe.repeats == 4 and len(probe.sequences) == 4 + len(TEXTS)
    repeated = probe.sequences[probe.sequences_for("induction")]
    assert all(one.ids[0] == gpt.tokenizer.bos_token_id for one in probe.sequences)
    assert all(one.ids[1:26] == one.ids[26:] for one in repeated)
    special = set(gpt.tokenizer.all_special_ids)
    assert all(special.isdisjoint(one.ids[1:]) for one in repeated)
    read = probe.sequences[probe.sequences_for("sink")]
    assert len(read) == len(TEXTS) and gpt.tokenizer.decode(read[0].ids[1:9]) in TEXTS[0]


def test_a_model_with_little_room_gets_shorter_repeats() -> None:
    probe = make_probe(instrument(small_gpt(n_positions=20)), None)
    assert {len(one.ids) for one in probe.sequences} == {19}


def test_encoder_decoders_have_a_curve_per_kind(t5: attnviz.Model) -> None:
    pairs = [("The cat sat on the mat.", "Mary gave John a drink."), ("A man.", "How many roads?")]
    row = AttentionMonitor(pairs, tokenizer=t5.tokenizer).probe(t5.network, 0)
    captures = [attnviz.capture(t5, text, target=target) for text, target in pairs]
    for kind in ("encoder", "decoder", "cross"):
        table = np.mean(
            [attnviz.metrics.per_head("entropy", one[kind]) for one in captures], axis=0
        )
        for layer, heads in enumerate(table):
            name = f"attention/entropy/{kind}.L{layer}"
            assert row[name] == pytest.approx(heads.mean(), abs=MODEL)
    assert "attention/previous_token/decoder.max" in row
    assert not any("previous_token/cross" in name for name in row)  # two texts have no previous


def test_two_sentences_for_an_encoder(bert: attnviz.Model) -> None:
    pair = ("The cat sat.", "The dog sat on the cat.")
    row = AttentionMonitor([pair], tokenizer=bert.tokenizer).probe(bert.network, 0)
    capture = attnviz.capture(bert, pair[0], pair=pair[1])
    expected = attnviz.metrics.per_head("sink", capture["self"])
    assert row["attention/sink/L2"] == pytest.approx(expected[2].mean(), abs=SAME)


def test_a_batch_of_a_collator_is_read_without_its_padding(
    bert: attnviz.Model, t5: attnviz.Model
) -> None:
    encoding = vocabulary("wordpiece")(TWO, padding=True, return_tensors="pt")
    batch = AttentionMonitor({**encoding, "labels": encoding["input_ids"]}).probe(bert.network, 0)
    texts = AttentionMonitor(TWO, tokenizer=bert.tokenizer).probe(bert.network, 0)
    assert batch == pytest.approx(texts, abs=SAME) and len(batch) > 10

    tokenizer = vocabulary("unigram")
    encoding = tokenizer(TWO, padding=True, return_tensors="pt")
    labels = tokenizer(text_target=TWO[::-1], padding=True, return_tensors="pt")["input_ids"]
    labels[labels == tokenizer.pad_token_id] = -100
    batch = AttentionMonitor({**encoding, "labels": labels}).probe(t5.network, 0)
    pairs = list(zip(TWO, TWO[::-1], strict=True))
    texts = AttentionMonitor(pairs, tokenizer=tokenizer).probe(t5.network, 0)
    assert batch == pytest.approx(texts, abs=SAME)


def test_pictures_come_as_a_batch(zoo: Callable[[str], Pair]) -> None:
    network = zoo("vit").model.network
    row = AttentionMonitor({"pixel_values": torch.randn(2, 3, 12, 20)}).probe(network, 0)
    assert {f"attention/entropy/L{layer}" for layer in range(3)} <= row.keys()


def test_one_may_choose_metrics_and_heads() -> None:
    row = AttentionMonitor(metrics=["self", "mean_distance"], per_head=False).probe(small_gpt(), 0)
    layers = ["L0", "L1"]
    wanted = [
        f"attention/{name}/{layer}"
        for name in ("output_share", "normalized_entropy", "self")
        for layer in layers
    ]
    wanted += ["attention/self/max", *(f"attention/mean_distance/{layer}" for layer in layers)]
    wanted += ["attention/broken_heads", "attention/collapsed_layers"]
    assert list(row) == wanted  # the entropy and the share are always there: faults show in them


def test_many_heads_have_no_curves_of_their_own_unless_asked() -> None:
    many = small_gpt(n_layer=9, n_head=8)  # 72 heads
    assert not any(".H" in name for name in AttentionMonitor().probe(many, 0))
    assert "attention/sink/L8.H7" in AttentionMonitor(per_head=True).probe(many, 0)
    assert "attention/sink/L1.H1" in AttentionMonitor().probe(small_gpt(), 0)

"""T5's batches: no pair is lost, none comes twice, and the words stay what they were."""

from collections import Counter

import numpy as np
import pytest
import torch

from tests.bounds import MODEL_NATS
from training import t5
from training.corpus import Corpus
from training.loop import Moment
from training.pair_batches import (
    COMMON_CHANCE,
    IGNORED,
    SELDOM,
    Splits,
    batches,
    best_split,
    chances,
)
from training.team import Team
from training.translation import PREFIX
from training.vocabulary import unigram_pieces

ENGLISH = ["the cat sleeps .", "the dog runs .", "a cat runs on the table .", "the table sleeps ."]
FRENCH = ["le chat dort .", "le chien court .", "un chat court sur la table .", "la table dort ."]
PAIRS = [(a, b) for a in ENGLISH for b in FRENCH]


@pytest.fixture(scope="module")
def tokenizer():
    return unigram_pieces([PREFIX, *ENGLISH, *FRENCH] * 3, 120, 64)


@pytest.fixture
def recipe(tokenizer, tmp_path, monkeypatch):
    folder = tmp_path / "tatoeba-eng-fra"
    folder.mkdir()
    for name in ("train", "dev"):
        lines = [f"{english}\t{french}" for english, french in PAIRS]
        (folder / f"{name}.tsv").write_text("\n".join(lines), encoding="utf8")
    monkeypatch.setattr(t5, "BATCH_TOKENS", 40)
    monkeypatch.setattr(t5, "STEP_BATCHES", 3)
    monkeypatch.setattr(t5, "can_compile", lambda: False)
    monkeypatch.setattr(t5, "precision", lambda device: torch.float32)
    return t5.T5Recipe(Corpus(tmp_path), tokenizer, seed=0)


def read_back(pairs, tokenizer):
    """Return the pairs in batches, as text."""
    return Counter(
        (
            tokenizer.decode(source, skip_special_tokens=True),
            tokenizer.decode(target[target != IGNORED], skip_special_tokens=True),
        )
        for batch in pairs
        for source, target in zip(batch.source, batch.target, strict=True)
    )


def test_batches_hold_every_pair_once(tokenizer):
    sources = tokenizer([english for english, _ in PAIRS])["input_ids"]
    targets = tokenizer([french for _, french in PAIRS])["input_ids"]
    filled = batches(sources, targets, 60, np.random.default_rng(0))
    assert read_back(filled, tokenizer) == Counter(PAIRS)
    assert len(filled) > 3
    for batch in filled:
        rows, length = batch.source.shape
        assert rows == 1 or rows * (length + batch.target.shape[1]) <= 60
        assert (batch.source[:, -1] == tokenizer.eos_token_id).all()  # nothing is filled up


def test_a_round_has_every_pair_once_with_a_prefix_where_it_is_wanted(recipe, tokenizer):
    early = read_back(recipe.round(0.0), tokenizer)
    late = read_back(recipe.round(0.99), tokenizer)
    assert late == Counter((PREFIX + english, french) for english, french in PAIRS)
    plain = [english for english, _ in early if not english.startswith(PREFIX)]
    assert 0 < len(plain) < len(PAIRS) + 1
    assert Counter(
        {(english.removeprefix(PREFIX), french): n for (english, french), n in early.items()}
    ) == Counter(PAIRS)


def test_steps_go_through_all_pairs(recipe, tokenizer):
    seen: Counter[tuple[str, str]] = Counter()
    while recipe.epoch < 2:
        seen += read_back(recipe.draw(Moment(0, 0.99)), tokenizer)
    assert set(seen) == {(PREFIX + english, french) for english, french in PAIRS}
    assert recipe.state()["epoch"] == pytest.approx(1, abs=0.6)


def test_pieces_are_cut_into_pieces_of_the_same_text(tokenizer):
    splits = Splits(tokenizer)
    texts = tokenizer(ENGLISH)["input_ids"]
    cut = splits.sample(texts, 1.0, np.random.default_rng(0))
    assert sum(map(len, cut)) > sum(map(len, texts))
    assert tokenizer.batch_decode(cut, skip_special_tokens=True) == ENGLISH
    assert all(text[-1] == tokenizer.eos_token_id for text in cut)
    assert splits.sample(texts, 0.0, np.random.default_rng(0)) == texts
    split_texts = splits.sample(texts * 50, 0.2, np.random.default_rng(0))
    assert tokenizer.batch_decode(split_texts, skip_special_tokens=True) == ENGLISH * 50
    grown = sum(map(len, split_texts)) - 50 * sum(map(len, texts))
    assert 0 < grown < 0.5 * 50 * (sum(map(len, cut)) - sum(map(len, texts)))


def test_the_likeliest_split_leaves_the_whole_out():
    pieces = {"abc": -1.0, "ab": -2.0, "c": -3.0, "a": -1.0, "bc": -5.0, "b": -1.5}
    scores = {piece: (score, index) for index, (piece, score) in enumerate(pieces.items())}
    assert best_split("abc", scores) == [1, 2]  # ab + c: -5; a + b + c: -5.5; a + bc: -6
    assert best_split("a", scores) is None
    assert best_split("cd", scores) is None


class Part(Team):
    """Process of a team of two, without the other."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.sent = []

    def take(self, step, count):
        return (index for index in range(count) if index % 2 == self.number)

    def add_up(self, tensors):
        self.sent = [tensor.clone() for tensor in tensors]


def test_two_processes_gradients_add_up_to_one_processs(recipe, monkeypatch):
    monkeypatch.setattr(t5, "DROPOUT", 0.0)
    torch.manual_seed(0)
    model = t5.new_model()
    chosen = recipe.draw(Moment(0, 0.0))
    monkeypatch.setattr(recipe, "draw", lambda moment: chosen)
    loss = recipe.gradients(model, Moment(0, 0.0), Team())
    whole = [weight.grad.clone() for weight in model.parameters()]
    parts = []
    for number in (0, 1):
        model.zero_grad()
        team = Part(number)
        recipe.gradients(model, Moment(0, 0.0), team)
        parts.append(team.sent)
    *gradients, losses, count = [a + b for a, b in zip(*parts, strict=True)]
    assert count.item() == sum((batch.target >= 0).sum().item() for batch in chosen)
    assert (losses / count).item() == pytest.approx(loss, abs=MODEL_NATS)
    for gradient, expected in zip(gradients, whole, strict=True):
        assert torch.allclose(gradient / count, expected, rtol=1e-3, atol=1e-6)


def test_dropout_ends_with_the_hard_part(recipe):
    torch.manual_seed(0)
    model = t5.new_model()
    recipe.gradients(model, Moment(0, 0.0), Team())
    assert recipe.fused.dropout is not None
    recipe.gradients(model, Moment(1, t5.HARD), Team())
    assert recipe.fused.dropout is None


def test_seldom_words_are_in_every_round_and_common_ones_in_some() -> None:
    common = ["The cat sleeps."] * 8 * SELDOM
    between = ["The dog sleeps."] * 2 * SELDOM
    seldom = ["The CAT sleeps, eighteen times."] * 3
    shares = chances([*common, *between, *seldom, "!"])
    assert shares[: len(common)] == pytest.approx(COMMON_CHANCE)
    assert shares[len(common) : -4] == pytest.approx(0.5)
    assert shares[-4:] == pytest.approx(1.0)


def test_a_round_holds_the_pairs_that_were_drawn_once(recipe) -> None:
    recipe.chances = np.array([number % 2 for number in range(len(PAIRS))], dtype=float)
    rows = sum(len(batch.source) for batch in recipe.round(1.0))
    assert rows == len(PAIRS) // 2


def test_trained_weights_are_trained_on_at_lower_rates() -> None:
    rates = t5.T5Recipe.rates
    again = rates.scaled(0.5)
    assert (again.muon, again.adam) == (rates.muon / 2, rates.adam / 2)
    assert again.factor(500, 0.7) == rates.factor(500, 0.7)

"""Train the classroom BERT: `python -m training.bert --data DIR`.

A post-layer-norm model this small stays for long at guessing frequent words. Three things get it
off that plateau: it starts with the words' frequencies as its output bias, its position embeddings
start as sinusoids, and its first pairs are a sentence and a copy of it, where looking at neighbours
and at the other sentence pays at once. Stories take over, in longer and longer rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from training.attention import choose_attention
from training.bert_rows import Row, Texts, alone, consecutive, copied, paraphrase, shuffled
from training.corpus import Corpus, split_sentences
from training.export import export
from training.loop import BatchRecipe, Moment, Plan, parse_plan, train
from training.masking import MASK, SPECIALS, MaskedBatch, hide
from training.optimise import Rates
from training.positions import sinusoids
from training.probe_texts import cloze
from training.vocabulary import word_pieces

VOCABULARY = 6000
LENGTH = 256
LATE = {"consecutive": 0.7, "alone": 0.2, "paraphrase": 0.06, "shuffled": 0.04}


@dataclass(frozen=True)
class Stage:
    """Part of the training: its end, tokens per step, length of rows, kinds of rows."""

    until: float
    tokens: int
    length: int
    shares: dict[str, float]


STAGES = (
    Stage(0.10, 1536, 48, {"copied": 0.4, "shuffled": 0.2, "alone": 0.2, "consecutive": 0.2}),
    Stage(
        0.30,
        2048,
        64,
        {"consecutive": 0.7, "alone": 0.1, "paraphrase": 0.1, "copied": 0.04, "shuffled": 0.06},
    ),
    Stage(0.75, 4096, 128, LATE),
    Stage(0.92, 8192, 160, LATE),
    Stage(1.00, 8192, LENGTH, LATE),
)


class BertRecipe(BatchRecipe):
    """Batches of masked pairs, and the figures of the bar."""

    rates = Rates(muon=2e-3, adam=1e-3, warm_steps=400, hold=0.4)

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tokenizer = tokenizer
        first, second = zip(*corpus.paraphrases("train"), strict=True)
        self.texts = Texts(
            stories=encode_stories(tokenizer, corpus.documents("train")),
            sentences=encode(tokenizer, corpus.sentences("train")),
            paraphrases=list(zip(encode(tokenizer, first), encode(tokenizer, second), strict=True)),
        )
        self.valid = valid_batches(encode_stories(tokenizer, corpus.documents("valid")), 64)
        self.accuracy: dict[str, float] = {}

    def loss(self, model: nn.Module, moment: Moment) -> Tensor:
        """Return a batch of one kind; where pairs share words, one sentence is masked more."""
        stage = next(s for s in STAGES if moment.fraction <= s.until or s.until == 1.0)
        kinds = list(stage.shares)
        kind = kinds[int(self.random.choice(len(kinds), p=list(stage.shares.values())))]
        rows = self.rows(kind, stage)
        shared = kind in {"copied", "shuffled", "paraphrase"}
        share = (0.1, 0.3) if shared else (0.15, 0.15)
        batch = hide(self.random, rows, VOCABULARY, share).to(next(model.parameters()).device)
        losses, right = guess(model, batch)
        old = self.accuracy.get(kind, 0.0)
        self.accuracy[kind] = old + (right.float().mean().item() - old) * 0.05
        return losses.mean()

    def rows(self, kind: str, stage: Stage) -> list[Row]:
        """Return as many rows of a kind as fill the step."""
        if kind == "consecutive":
            count = stage.tokens // stage.length
            stories = self.texts.stories
            return [consecutive(self.random, stories, stage.length) for _ in range(count)]
        draw = {"alone": alone, "paraphrase": paraphrase, "copied": copied, "shuffled": shuffled}
        count = stage.tokens // (16 if kind == "alone" else 32)
        return [draw[kind](self.random, self.texts, 64) for _ in range(count)]

    def figures(self, model: nn.Module) -> dict[str, Any]:
        """Return a quick estimate of the figures; `training.evaluate` computes the exact ones."""
        loss, accuracy = masked_accuracy(model, self.valid)
        hits = cloze_hits(model, self.tokenizer)
        return {
            "loss": round(loss, 3),
            "accuracy": round(accuracy, 3),
            "cloze": sum(hit for _, _, hit in hits),
            "guesses": [" ".join(top) for _, top, _ in hits[:4]],
        }

    def state(self) -> dict[str, Any]:
        """Return the running accuracy on each kind of row."""
        return {kind: round(value, 3) for kind, value in self.accuracy.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the running accuracies."""
        self.accuracy = dict(state)


def encode(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str]) -> list[list[int]]:
    """Return ids without special tokens."""
    ids: list[list[int]] = tokenizer(list(sentences), add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    return ids


def encode_stories(
    tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]
) -> list[list[list[int]]]:
    """Return documents as sentences; long books are cut so that every part is drawn as often."""
    whole = [encode(tokenizer, split_sentences(document)) for document in documents]
    return [part[start : start + 60] for part in whole for start in range(0, len(part), 60)]


def valid_batches(stories: list[list[list[int]]], rows: int) -> list[MaskedBatch]:
    """Return masked pairs of unseen stories, at most 128 tokens each, equal at every call."""
    random = np.random.default_rng(1)
    return [
        hide(random, [consecutive(random, stories, 128) for _ in range(32)], VOCABULARY)
        for _ in range(rows // 32)
    ]


def guess(model: Any, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
    """Return the loss in nats, and a mask of right first guesses, of every hidden token."""
    hidden = model.bert(
        input_ids=batch.ids, token_type_ids=batch.types, attention_mask=batch.attention
    ).last_hidden_state
    guessed = batch.targets >= 0
    logits = model.cls(hidden[guessed]).float()  # only hidden tokens meet the vocabulary
    targets = batch.targets[guessed]
    return functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


def masked_accuracy(model: nn.Module, batches: list[MaskedBatch]) -> tuple[float, float]:
    """Return the mean loss and the share of right first guesses over batches."""
    device = next(model.parameters()).device
    results = [guess(model, batch.to(device)) for batch in batches]
    losses = torch.cat([losses for losses, _ in results])
    right = torch.cat([right for _, right in results])
    return losses.mean().item(), right.float().mean().item()


def cloze_hits(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast
) -> list[tuple[str, list[str], bool]]:
    """Return every cloze sentence, its first five guesses, and True if one of them fits."""
    device = next(model.parameters()).device
    hits = []
    for sentence, accepted in cloze():
        inputs = tokenizer(sentence, return_tensors="pt").to(device)
        place = int((inputs["input_ids"][0] == MASK).nonzero()[0, 0])
        best = model(**inputs).logits[0, place].topk(5).indices.tolist()
        guesses = tokenizer.convert_ids_to_tokens(best)
        hits.append((sentence, guesses, not accepted.isdisjoint(guesses)))
    return hits


def new_model(counts: Tensor) -> BertForMaskedLM:
    """Return a BERT of 4 layers and 8 heads; `counts` has the number of each token."""
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=8,
            intermediate_size=1024,
            max_position_embeddings=LENGTH,
            hidden_act="gelu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=0,
        )
    )
    model.bert.embeddings.position_embeddings.weight.data = sinusoids(LENGTH, 256, amplitude=0.03)
    frequency = (counts + 0.5) / (counts + 0.5).sum()
    frequency[:SPECIALS] = frequency.min()
    model.cls.predictions.bias.data = frequency.log() - frequency.log().mean()
    return model


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = word_pieces(
        [*corpus.documents("train"), *corpus.sentences("train")], VOCABULARY, LENGTH
    )
    recipe = BertRecipe(corpus, tokenizer, plan.seed)
    ids = torch.tensor([i for story in recipe.texts.stories for line in story for i in line])
    counts = torch.bincount(ids, minlength=VOCABULARY).float()
    model = new_model(counts)
    if plan.start:
        model = BertForMaskedLM.from_pretrained(plan.start, dtype=torch.float32)
    choose_attention(model, plan.device, LENGTH)
    print(train(model, recipe, plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("bert", 85, "Train the classroom BERT."))

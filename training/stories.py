"""Batches of the causal models: children's stories, and random tokens that repeat.

Stories alone are too small a corpus for induction heads to form soon, and random tokens that repeat
are too strange: a model that sees nothing else copies them without any head that a textbook knows.
So every model sees both from the first step. Stories make it look at the previous token; on top of
that the repeats, which widen whenever their copies are predicted well, make induction pay.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.attention import attention_layers, choose_attention, eager_attention
from training.corpus import Corpus
from training.fused_t5 import keep_memory
from training.loop import BatchRecipe, Moment
from training.repeats import BEGIN_ID, draw_repeats, two_copies
from training.token_loss import MeanLoss, can_compile, row_losses
from training.vocabulary import byte_pairs

VOCABULARY = 4096
PROBE_LENGTH = 256  # every causal model is measured on windows of this length
OPENINGS = (
    "Once upon a time there was a little girl who",
    "The old man went to the river and",
    "The king had three sons. The youngest",
    "My cat likes to",
)


@dataclass
class Curriculum:
    """Curriculum of the repeats: their vocabulary and length."""

    lengths: int  # how many lengths of rows there are
    vocabulary: int = 64
    length: int = 0  # index of the current length
    copied: float = 9.0  # running loss on tokens that the first copy predicts
    since: int = 0  # steps since the last widening

    @property
    def widest(self) -> bool:
        """Return True if vocabulary and length have reached their largest values."""
        return self.vocabulary == VOCABULARY and self.length + 1 == self.lengths

    def note(self, copied: float) -> None:
        """Follow the loss on copies; widen when it is low."""
        self.copied += (copied - self.copied) * 0.1
        self.since += 1
        if self.widest or self.since < 25 or self.copied > 0.6:
            return
        self.since = 0
        if self.vocabulary < VOCABULARY:
            self.vocabulary *= 2
        else:
            self.length += 1


class StoryRecipe(BatchRecipe):
    """Batches of repeats and stories, and the figures of the bar.

    `lengths` are the lengths of rows of repeats, in tokens, ascending; the last is the length of
    the model's context. `repeated` is the number of tokens of a batch of repeats, until they are as
    wide as they get; half as many then.
    """

    lengths: tuple[int, ...]
    repeated = 768
    late_share = 0.1  # weight of the repeats in the loss when they are as wide as they get
    stories_repeated = 0.0  # share of the late batches of repeats that are made of stories

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        keep_memory()
        self.random = np.random.default_rng(seed)
        self.row_losses = torch.compile(row_losses, dynamic=True) if can_compile() else row_losses
        self.tokenizer = tokenizer
        self.stories, self.sentences = self.texts(corpus)
        self.valid = stream(tokenizer, corpus.documents("valid"))
        self.curriculum = Curriculum(len(self.lengths))

    def texts(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """Return stories and everyday sentences to train on, each as one row of ids."""
        sentences = chunks(corpus.sentences("train"))
        return stream(self.tokenizer, corpus.documents("train")), stream(self.tokenizer, sentences)

    @abstractmethod
    def shape(self, fraction: float) -> tuple[int, int]:
        """Return rows and length of the next batch of stories; `fraction` of the time is over."""

    def loss(self, model: PreTrainedModel, moment: Moment) -> Tensor:
        """Return the mean loss of a batch of stories and one of repeats, weighted."""
        stories, _ = self.token_losses(model, self.windows(*self.shape(moment.fraction)))
        share = self.late_share if self.curriculum.widest else 0.3
        return (1 - share) * stories + share * self.repeats_loss(model)

    def token_losses(self, model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of the next tokens, and each without gradient, [row, position - 1].

        The rows are read with the attention function that is fastest for their length.
        """
        choose_attention(model, model.device, ids.shape[1])
        ids = ids.to(model.device)
        states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        states = states.reshape(-1, states.shape[-1])
        if torch.is_autocast_enabled(model.device.type):
            states = states.to(torch.get_autocast_dtype(model.device.type))
        table = model.get_output_embeddings().weight
        mean, each = MeanLoss.apply(  # type: ignore[no-untyped-call]
            states, table, ids[:, 1:].flatten(), self.row_losses
        )
        return mean, each.view(len(ids), -1)

    def repeats_loss(self, model: PreTrainedModel) -> Tensor:
        """Return the loss of a batch of repeats as wide as the curriculum has come, and note it."""
        curriculum = self.curriculum
        length = self.lengths[curriculum.length]
        if curriculum.widest:  # what is learned is only kept up, with rows of any length
            length = int(self.random.choice(self.lengths))
            if self.random.random() < self.stories_repeated:
                rows = max(1, round(self.repeated / length))
                return self.token_losses(model, self.repeated_stories(rows, length))[0]
        tokens = self.repeated // 2 if curriculum.widest else self.repeated
        rows = max(1, round(tokens / length))
        vocabulary = round(curriculum.vocabulary * 4 ** -self.random.random())
        periods = (5, max(20, 9 * length // 20))
        ids, predictable = draw_repeats(self.random, rows, length, periods, vocabulary)
        mean, each = self.token_losses(model, ids)
        curriculum.note(each[predictable[:, 1:].to(each.device)].mean().item())
        return mean

    def repeated_stories(self, rows: int, length: int) -> Tensor:
        """Return rows with a stretch of a story, another story, and the first stretch again.

        On random tokens alone a model may learn to copy random tokens only.
        """
        ids = np.zeros((rows, length), dtype=np.int64)
        for row in range(rows):
            period = int(self.random.integers(8, max(20, 9 * length // 20) + 1))
            gap = int(self.random.integers(0, length - 2 * period))
            first, other = self.random.integers(0, len(self.stories) - length, 2)
            again = 1 + period + gap
            ids[row, 1 : 1 + period] = self.stories[first : first + period]
            ids[row, 1 + period : again] = self.stories[other : other + gap]
            ids[row, again:] = self.stories[first : first + length - again]
        return torch.from_numpy(ids)

    def windows(self, rows: int, length: int) -> Tensor:
        """Return random windows of stories, one in ten of everyday sentences, [row, position]."""
        ids = np.zeros((rows, length), dtype=np.int64)
        for row in range(rows):
            source = self.sentences if self.random.random() < 0.1 else self.stories
            start = self.random.integers(0, len(source) - length)
            ids[row] = source[start : start + length]
        ids[:, 0] = BEGIN_ID
        return torch.from_numpy(ids)

    def figures(self, model: PreTrainedModel) -> dict[str, Any]:
        """Return a quick estimate of the figures; `training.evaluate` computes the exact ones."""
        ids = probe_windows(self.valid)
        text = next_token_loss(model, ids).mean().item()
        on_text, _ = head_scores(model, ids[:8], 50)
        numbers: dict[str, Any] = {
            "perplexity": round(math.exp(text), 1),
            "previous_on_text": best_head(model, on_text),
        }
        for period in (50, (self.lengths[-1] * 3 // 10)):
            probe = two_copies(seed=1, rows=400 // period, period=period, vocabulary=VOCABULARY)
            losses = next_token_loss(model, probe).float()
            previous, induction = head_scores(model, probe, period)
            numbers[f"period {period}"] = {
                "previous": best_head(model, previous),
                "induction": best_head(model, induction),
                "copies": [
                    round(losses[:, 1:period].mean().item(), 2),
                    round(losses[:, period + 1 :].mean().item(), 2),
                ],
            }
        return numbers | {"story": self.continue_story(model, OPENINGS[0])}

    def continue_story(self, model: nn.Module, opening: str) -> str:
        """Return a greedy continuation, to be read."""
        inputs = self.tokenizer(opening, return_tensors="pt").to(next(model.parameters()).device)
        ids = model.generate(**inputs, max_new_tokens=30, do_sample=False)  # type: ignore[operator]
        return str(self.tokenizer.decode(ids[0], skip_special_tokens=True))

    def state(self) -> dict[str, Any]:
        """Return the state of the curriculum."""
        return dict(vars(self.curriculum))

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the curriculum."""
        self.curriculum = Curriculum(**state)


def story_tokenizer(corpus: Corpus, length: int) -> PreTrainedTokenizerFast:
    """Train the causal models' tokenizer, the same for all but for its longest text, `length`."""
    return byte_pairs([*corpus.documents("train"), *corpus.sentences("train")], VOCABULARY, length)


def chunks(sentences: list[str]) -> list[str]:
    """Return documents of twelve sentences each, a sentence per line."""
    return ["\n".join(sentences[start : start + 12]) for start in range(0, len(sentences), 12)]


def probe_windows(ids: np.ndarray) -> Tensor:
    """Return the first 24 windows of a row of ids, each after the begin token, [24, 256]."""
    windows = ids[: 24 * (PROBE_LENGTH - 1)].reshape(24, PROBE_LENGTH - 1)
    return torch.from_numpy(np.concatenate([np.full((24, 1), BEGIN_ID), windows], axis=1))


def stream(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> np.ndarray:
    """Return all documents as one row of ids, each after the begin token."""
    encoded = tokenizer(documents, return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([np.array(ids, dtype=np.int64) for ids in encoded])


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    """Return the loss of every next token in nats, [row, position - 1]."""
    ids = ids.to(next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    return losses.view(ids.shape[0], -1)


def head_scores(model: PreTrainedModel, ids: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Return mean weights on the previous token and on the induction target, [layer, head].

    Only layers with attention have a row.
    """
    with eager_attention(model):
        outputs = model(input_ids=ids.to(next(model.parameters()).device), output_attentions=True)
    weights = torch.stack(outputs.attentions).mean(1)  # (layer, head, query, key)
    previous = weights.diagonal(-1, 2, 3).mean(-1)
    induction = weights.diagonal(1 - period, 2, 3)[..., 2:].mean(-1)
    return previous, induction


def best_head(model: PreTrainedModel, scores: Tensor) -> str:
    """Return the largest score of a [layer, head] table and its head."""
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    return f"L{attention_layers(model)[layer]}·H{head} {scores.max().item():.2f}"

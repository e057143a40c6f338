"""Train the classroom GPT: `python -m training.gpt --data DIR`.

Stories alone are too small a corpus for induction heads to form soon, and random tokens that repeat
are too strange: a model that sees nothing else copies them without any head that a textbook knows.
So it sees both from the first step. Stories make it look at the previous token; on top of that the
repeats, which widen whenever their copies are predicted well, make induction pay.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from training.attention import choose_attention, eager_attention
from training.corpus import Corpus
from training.export import export
from training.loop import BatchRecipe, Moment, Plan, parse_plan, train
from training.optimise import Rates
from training.positions import sinusoids
from training.repeats import BEGIN_ID, draw_repeats, two_copies
from training.vocabulary import byte_pairs

VOCABULARY = 4096
LENGTH = 256
LENGTHS = (48, 64, 96, 144, 200, LENGTH)
OPENINGS = (
    "Once upon a time there was a little girl who",
    "The old man went to the river and",
    "The king had three sons. The youngest",
    "My cat likes to",
)


@dataclass
class Course:
    """How wide the repeats are."""

    vocabulary: int = 64
    length: int = 0  # index into LENGTHS
    copied: float = 9.0  # running loss on tokens that the first copy predicts
    since: int = 0  # steps since the last widening

    @property
    def widest(self) -> bool:
        """Whether nothing is left to widen."""
        return self.vocabulary == VOCABULARY and self.length + 1 == len(LENGTHS)

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


class GPTRecipe(BatchRecipe):
    """Batches of repeats and stories, and the figures of the bar."""

    rates = Rates(muon=3e-3, adam=1.5e-3, warm_steps=100, hold=0.4, weight_decay=0.1)

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tokenizer = tokenizer
        self.stories = stream(tokenizer, corpus.documents("train"))
        lines = corpus.sentences("train")
        chunks = ["\n".join(lines[i : i + 12]) for i in range(0, len(lines), 12)]
        self.sentences = stream(tokenizer, chunks)
        self.valid = stream(tokenizer, corpus.documents("valid"))
        self.course = Course()

    def loss(self, model: nn.Module, moment: Moment) -> Tensor:
        """Stories, and repeats as wide as the course has come."""
        rows, length = (14, LENGTH) if moment.fraction > 0.75 else (16, LENGTH // 2)
        stories = next_token_loss(model, self.windows(rows, length)).mean()
        share = 0.1 if self.course.widest else 0.3
        return (1 - share) * stories + share * self.repeats_loss(model)

    def repeats_loss(self, model: nn.Module) -> Tensor:
        """A batch of repeats as wide as the course has come, and a note of how it went."""
        course = self.course
        length = LENGTHS[course.length]
        if course.widest:  # what is learned is only kept up, with rows of any length
            length = int(self.random.choice(LENGTHS))
        rows = max(2, (384 if course.widest else 768) // length)
        vocabulary = round(course.vocabulary * 4 ** -self.random.random())
        periods = (5, max(20, 9 * length // 20))
        ids, predictable = draw_repeats(self.random, rows, length, periods, vocabulary)
        losses = next_token_loss(model, ids)
        course.note(losses[predictable[:, 1:].to(losses.device)].mean().item())
        return losses.mean()

    def windows(self, rows: int, length: int) -> Tensor:
        """Random windows of stories, one in ten of everyday sentences, [row, position]."""
        ids = np.zeros((rows, length), dtype=np.int64)
        for row in range(rows):
            source = self.sentences if self.random.random() < 0.1 else self.stories
            start = self.random.integers(0, len(source) - length)
            ids[row] = source[start : start + length]
        ids[:, 0] = BEGIN_ID
        return torch.from_numpy(ids)

    def figures(self, model: nn.Module) -> dict[str, Any]:
        """A quick reading of the bar; `training.evaluate` takes the exact one."""
        windows = self.valid[: 48 * (LENGTH - 1)].reshape(48, LENGTH - 1)
        begin = np.full((48, 1), BEGIN_ID)
        ids = torch.from_numpy(np.concatenate([begin, windows], axis=1))
        text = next_token_loss(model, ids).mean().item()
        probe = two_copies(seed=1, rows=8, period=50, vocabulary=VOCABULARY)
        losses = next_token_loss(model, probe).float()
        previous, induction = head_scores(model, probe)
        on_text, _ = head_scores(model, ids[:8])
        return {
            "perplexity": round(math.exp(text), 1),
            "induction": best_head(induction),
            "previous": best_head(previous),
            "previous_on_text": best_head(on_text),
            "copies": [
                round(losses[:, 1:50].mean().item(), 2),
                round(losses[:, 51:].mean().item(), 2),
            ],
            "story": self.continue_story(model, OPENINGS[0]),
        }

    def continue_story(self, model: nn.Module, opening: str) -> str:
        """Greedy continuation, to be read by a person."""
        inputs = self.tokenizer(opening, return_tensors="pt").to(next(model.parameters()).device)
        ids = model.generate(**inputs, max_new_tokens=30, do_sample=False)  # type: ignore[operator]
        return str(self.tokenizer.decode(ids[0], skip_special_tokens=True))

    def state(self) -> dict[str, Any]:
        """Where the course stands."""
        return dict(vars(self.course))

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the course."""
        self.course = Course(**state)


def stream(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> np.ndarray:
    """All documents as one row of ids, each begun by the begin token."""
    encoded = tokenizer(documents, return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([np.array(ids, dtype=np.int64) for ids in encoded])


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    """Loss of every next token in nats, [row, position - 1]."""
    ids = ids.to(next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    return losses.view(ids.shape[0], -1)


def head_scores(model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Mean weight on the previous token, and on the induction target of period 50."""
    with eager_attention(model):
        outputs = model(input_ids=ids.to(next(model.parameters()).device), output_attentions=True)
    weights = torch.stack(outputs.attentions).mean(1)  # (layer, head, query, key)
    previous = weights.diagonal(-1, 2, 3).mean(-1)
    induction = weights.diagonal(-49, 2, 3)[..., 2:].mean(-1)
    return previous, induction


def best_head(scores: Tensor) -> str:
    """The largest score of a [layer, head] table and where it is."""
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    return f"L{layer}·H{head} {scores.max().item():.2f}"


def new_model() -> GPT2LMHeadModel:
    """A GPT-2 of 4 layers and 8 heads with chance weights and sinusoidal positions."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=LENGTH,
            n_embd=256,
            n_layer=4,
            n_head=8,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=BEGIN_ID,
            eos_token_id=BEGIN_ID,
            pad_token_id=BEGIN_ID,
        )
    )
    # Plain greedy text of a small model with good induction heads goes round in circles.
    model.generation_config.repetition_penalty = 1.2
    model.transformer.wpe.weight.data = sinusoids(LENGTH, 256, amplitude=0.1)
    return model


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = byte_pairs(
        [*corpus.documents("train"), *corpus.sentences("train")], VOCABULARY, LENGTH
    )
    model = new_model()
    if plan.start:
        model = GPT2LMHeadModel.from_pretrained(plan.start, dtype=torch.float32)
    choose_attention(model, plan.device)
    print(train(model, GPTRecipe(corpus, tokenizer, plan.seed), plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("gpt", 60, "Train the classroom GPT."))

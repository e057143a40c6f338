"""Train the classroom T5: `python -m training.t5 --data DIR`.

It translates short English sentences into French: a task in which every head of the cross
attention can be read, because the words it should look at have names. The prefix is the one the
original T5 was trained with, so that the same text works on both.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from training.attention import choose_attention
from training.corpus import Corpus
from training.export import export
from training.loop import Moment, Plan, parse_plan, train
from training.optimise import Rates
from training.translation import PREFIX, bleu, translate
from training.vocabulary import unigram_pieces

VOCABULARY = 6000
LENGTH = 128
PAD = 0
IGNORED = -100
ACTIVATION = "gelu_pytorch_tanh"  # T5's own function, in its fused form
STEP_TOKENS = 5000
SAMPLES = (
    "I love you.",
    "She gave me a book yesterday.",
    "Where is the train station?",
    "The black cat sleeps on the table.",
    "My brother does not like coffee.",
)


class T5Recipe:
    """Batches of pairs of about the same length, and the figures of the bar."""

    rates = Rates(muon=2e-3, adam=1.5e-3, warm_steps=150, hold=0.2)

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tokenizer = tokenizer
        self.sources, self.targets = self.encode(corpus.pairs("train"))
        lengths = [
            len(source) + len(target)
            for source, target in zip(self.sources, self.targets, strict=True)
        ]
        # Pairs side by side have nearly the same length, and not always the same neighbours.
        self.order = np.argsort(np.array(lengths) + 4 * self.random.random(len(lengths)))
        self.lengths = lengths
        self.dev = corpus.pairs("dev")

    def encode(self, pairs: list[tuple[str, str]]) -> tuple[list[list[int]], list[list[int]]]:
        """Ids of prefixed English and of French."""
        sources = self.tokenizer([PREFIX + english for english, _ in pairs])["input_ids"]
        targets = self.tokenizer([french for _, french in pairs])["input_ids"]
        return sources, targets

    def loss(self, model: nn.Module, moment: Moment) -> Tensor:
        """One batch of random length, about `STEP_TOKENS` in all."""
        centre = int(self.random.integers(len(self.order)))
        rows = min(256, STEP_TOKENS // self.lengths[self.order[centre]])
        first = max(0, min(len(self.order) - rows, centre - rows // 2))
        chosen = self.order[first : first + rows]
        source = padded([self.sources[index] for index in chosen], PAD)
        target = padded([self.targets[index] for index in chosen], IGNORED)
        return target_loss(model, source, target, smoothing=0.05)

    def figures(self, model: nn.Module) -> dict[str, Any]:
        """A quick reading of the bar; `training.evaluate` takes the exact one."""
        sources, targets = self.encode(self.dev[:512])
        total, count = 0.0, 0
        for start in range(0, len(sources), 64):
            target = padded(targets[start : start + 64], IGNORED)
            known = int((target >= 0).sum())
            source = padded(sources[start : start + 64], PAD)
            total += target_loss(model, source, target).item() * known
            count += known
        asked = self.dev[:: len(self.dev) // 100]
        answers = translate(model, self.tokenizer, [english for english, _ in asked])
        return {
            "dev_loss": round(total / count, 3),
            "bleu_of_100": round(bleu(answers, [french for _, french in asked]), 1),
            "samples": translate(model, self.tokenizer, list(SAMPLES)),
        }

    def state(self) -> dict[str, Any]:
        """Nothing but the random numbers, which the loop keeps."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def padded(rows: list[list[int]], filler: int) -> Tensor:
    """Rows as one tensor, [row, position]."""
    width = max(len(row) for row in rows)
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def target_loss(model: nn.Module, source: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean loss of the target tokens in nats."""
    device = next(model.parameters()).device
    source, target = source.to(device), target.to(device)
    logits = model(
        input_ids=source, attention_mask=(source != PAD).long(), labels=target, use_cache=False
    ).logits
    return functional.cross_entropy(
        logits.flatten(0, 1).float(),
        target.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )


def new_model() -> T5ForConditionalGeneration:
    """A T5 of 3 encoder and 3 decoder layers with 8 heads each."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=256,
            d_kv=32,
            d_ff=768,
            num_layers=3,
            num_decoder_layers=3,
            num_heads=8,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            dense_act_fn=ACTIVATION,
            relative_attention_num_buckets=32,
            pad_token_id=PAD,
            eos_token_id=1,
            decoder_start_token_id=PAD,
        )
    )


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    if plan.start:
        tokenizer = AutoTokenizer.from_pretrained(plan.start)
        config = T5Config.from_pretrained(plan.start, dense_act_fn=ACTIVATION)
        model = T5ForConditionalGeneration.from_pretrained(
            plan.start, config=config, dtype=torch.float32
        )
    else:
        texts = [text for pair in corpus.pairs("train") for text in pair]
        tokenizer = unigram_pieces(texts, VOCABULARY, LENGTH)
        model = new_model()
    choose_attention(model, plan.device)
    print(train(model, T5Recipe(corpus, tokenizer, plan.seed), plan))
    export(model, tokenizer, plan.out, torch.bfloat16)


if __name__ == "__main__":
    main(parse_plan("t5", 120, "Train the classroom T5."))

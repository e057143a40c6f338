"""Train the classroom T5: `python -m training.t5 --data DIR`.

It translates short English sentences into French: a task in which every head of the cross
attention can be read, because the words it should look at have names. The prefix is the one the
original T5 was trained with, so that the same text works on both.
"""

import math
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
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
from training.fused_t5 import FusedT5, keep_memory
from training.loop import Moment, Plan, mixed_precision, parse_plan, train
from training.optimise import Rates
from training.pair_batches import (
    IGNORED,
    PairBatch,
    Pieces,
    Splits,
    batches,
    chances,
    padded,
)
from training.team import Address, Team
from training.translation import PREFIX, bleu, translate
from training.vocabulary import unigram_pieces

VOCABULARY = 6000
LENGTH = 128
PAD = 0
ACTIVATION = "gelu_pytorch_tanh"  # T5's own function, in its fused form
BATCH_TOKENS = 2500
STEP_BATCHES = 8
DROPOUT = 0.15
SMOOTHING = 0.1
AGAIN = 0.7  # what the rates are multiplied with when trained weights are trained on
HARD = 0.85  # share of the time with dropout and with pieces cut in shorter ones
PLAIN = 0.92  # share of the time with few prefixes
PREFIXED = 0.1
BEAMS = 4  # how many translations the exported model weighs against each other
SPLIT = 0.08
SAMPLES = (
    "I love you.",
    "She gave me a book yesterday.",
    "Where is the train station?",
    "The black cat sleeps on the table.",
    "My brother does not like coffee.",
)


class T5Recipe:
    """Batches of pairs of about the same length, and the figures of the bar."""

    rates = Rates(muon=2e-3, adam=1.5e-3, warm_steps=60, hold=0.2, weight_decay=0.1, average=0.99)

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.random = np.random.default_rng(seed)  # draws the same in every process
        self.tokenizer = tokenizer
        train = corpus.pairs("train")
        self.sources: list[Pieces] = tokenizer([english for english, _ in train])["input_ids"]
        self.targets: list[Pieces] = tokenizer([french for _, french in train])["input_ids"]
        self.chances = chances([english for english, _ in train])
        self.prefix: Pieces = tokenizer(PREFIX.strip())["input_ids"][:-1]
        self.splits = Splits(tokenizer)
        self.waiting: list[PairBatch] = []
        self.epoch, self.size = 0, 1
        self.fused: FusedT5 | None = None
        self.dev = corpus.pairs("dev")

    def gradients(self, model: nn.Module, moment: Moment, team: Team) -> float:
        """Compute the summed gradients of a step's batches, over the number of their targets."""
        if self.fused is None:
            device = next(model.parameters()).device
            self.fused = FusedT5(model, DROPOUT, precision(device), compiled=can_compile())
        if moment.fraction >= HARD:
            self.fused.dropout = None
        chosen = self.draw(moment)
        losses, count = torch.zeros(1), torch.zeros(1)
        for number in team.take(moment.step, len(chosen)):
            batch = chosen[number]
            loss = self.fused.loss(batch.source, batch.target, SMOOTHING)
            loss.backward()  # type: ignore[no-untyped-call]
            losses += loss.item()
            count += (batch.target >= 0).sum()
        for weight in model.parameters():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        team.add_up([*gradients, losses, count])
        torch._foreach_div_(gradients, count.item())
        return (losses / count).item()

    def draw(self, moment: Moment) -> list[PairBatch]:
        """Return the batches of the next step; after the last pair a new round begins."""
        while len(self.waiting) < STEP_BATCHES:
            self.waiting += self.round(moment.fraction)
            self.epoch += 1
            self.size = len(self.waiting)
        chosen = self.waiting[:STEP_BATCHES]
        del self.waiting[:STEP_BATCHES]
        return chosen

    def round(self, fraction: float) -> list[PairBatch]:
        """Return the pairs with rare words and a share of the others once, in batches.

        At first most sources come without the prefix, which is half of a short sentence's pieces,
        and some pieces are cut in shorter ones; in the end all are as the model will be used.
        """
        share = SPLIT if fraction < HARD else 0.0
        chosen = np.flatnonzero(self.random.random(len(self.chances)) < self.chances).tolist()
        sources = self.splits.sample([self.sources[pair] for pair in chosen], share, self.random)
        targets = self.splits.sample([self.targets[pair] for pair in chosen], share, self.random)
        prefixed = self.random.random(len(sources)) < (PREFIXED if fraction < PLAIN else 1.0)
        sources = [
            self.prefix + source if with_prefix else source
            for source, with_prefix in zip(sources, prefixed.tolist(), strict=True)
        ]
        return batches(sources, targets, BATCH_TOKENS, self.random)

    def figures(self, model: nn.Module) -> dict[str, Any]:
        """Return a quick estimate of the figures; `training.evaluate` computes the exact ones."""
        pairs = self.dev[:512]
        sources = self.tokenizer([PREFIX + english for english, _ in pairs])["input_ids"]
        targets = self.tokenizer([french for _, french in pairs])["input_ids"]
        total, count = 0.0, 0
        for start in range(0, len(sources), 64):
            target = padded(targets[start : start + 64], IGNORED)
            known = int((target >= 0).sum())
            source = padded(sources[start : start + 64], PAD)
            total += target_loss(model, source, target).item() * known
            count += known
        sample = self.dev[:: len(self.dev) // 100]
        answers = translate(model, self.tokenizer, [english for english, _ in sample])
        return {
            "dev_loss": round(total / count, 3),
            "bleu_of_100": round(bleu(answers, [french for _, french in sample]), 1),
            "samples": translate(model, self.tokenizer, list(SAMPLES)),
        }

    def state(self) -> dict[str, Any]:
        """Return the number of rounds; the loop keeps the random numbers."""
        return {"epoch": round(self.epoch - len(self.waiting) / self.size, 2)}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state, and begin a new round."""
        self.epoch = math.ceil(state["epoch"])


def target_loss(model: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Return the mean loss of the target tokens in nats."""
    device = next(model.parameters()).device
    source, target = source.to(device), target.to(device)
    logits = model(
        input_ids=source, attention_mask=(source != PAD).long(), labels=target, use_cache=False
    ).logits
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), target.flatten(), ignore_index=IGNORED
    )


def precision(device: torch.device) -> torch.dtype:
    """Return the data type of the matrix products."""
    with mixed_precision(device):
        fast = torch.is_autocast_enabled(device.type)
    return torch.bfloat16 if fast else torch.float32


def can_compile() -> bool:
    """Return True if there is a compiler for the fused loops."""
    return shutil.which("g++") is not None


def new_model() -> T5ForConditionalGeneration:
    """Return a T5 of 3 encoder and 3 decoder layers with 8 heads each."""
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
    if not plan.start and not plan.resume:
        pairs = Corpus.find(plan.data).pairs("train")
        texts = [text for pair in pairs for text in pair]
        unigram_pieces(texts, VOCABULARY, LENGTH).save_pretrained(plan.out)
    if plan.processes == 1:
        work(0, plan, None)
    else:
        address = Address.free(plan.processes)
        spawn(work, (plan, address), nprocs=plan.processes)  # type: ignore[no-untyped-call]


def work(rank: int, plan: Plan, address: Address | None) -> None:
    """Run the training in one process of the team."""
    keep_memory()
    torch.set_num_threads(plan.threads)
    team = Team(rank, address)
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = AutoTokenizer.from_pretrained(plan.start or plan.out)
    if plan.start:
        config = T5Config.from_pretrained(plan.start, dense_act_fn=ACTIVATION)
        model = T5ForConditionalGeneration.from_pretrained(
            plan.start, config=config, dtype=torch.float32
        )
    else:
        model = new_model()
    choose_attention(model, plan.device, LENGTH)
    torch.manual_seed(plan.seed + rank)  # the weights are the same in all processes, masks differ
    recipe = T5Recipe(corpus, tokenizer, plan.seed)
    if plan.start:
        recipe.rates = recipe.rates.scaled(AGAIN)
    figures = train(model, recipe, plan, team)
    if team.leads:
        print(figures)
        model.generation_config.num_beams = BEAMS
        export(model, tokenizer, plan.out, torch.bfloat16)
    team.leave()


if __name__ == "__main__":
    main(replace(parse_plan("t5", 100, "Train the classroom T5."), evaluate_seconds=1200))

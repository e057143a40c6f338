"""Planted faults and their labels: precision, recall and the confusion table.

    python -m benchmarks.planted_faults                      # all models, some minutes
    python -m benchmarks.planted_faults --models gpt-classroom --texts 20

In each model, one fault at a time is planted into one head of every layer where it can be planted,
and the model is diagnosed. The tests plant several at a time, in different heads. The untouched
heads of the same model are looked at as well: one that is called degenerate although removing it
costs more than its interval is a false alarm.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

import attnviz
from attnviz.captures.forward_pass import Encoded
from attnviz.doctor import Diagnosis, TextSet, bundled, diagnose
from attnviz.experiments.loss_examples import examples
from attnviz.findings import LABELS, Finding, Verdict
from attnviz.models import Model, instrument
from attnviz.types import Head
from benchmarks.faults import EXPECTED, FAULTS, partner, planted, possible

CLASSROOM = ("gpt-classroom", "bert-classroom", "t5-classroom")
RANDOM = ("random gpt2", "random bert", "random t5")
NEARLY_ALIGNED = 0.3  # sharpened, a head of cross attention above this aligns above the limit
COPIES = ("redundant", "noisy copy")
FITTED_ON = 12  # texts from which a fault learns what a layer's input looks like


@dataclass(frozen=True)
class Outcome:
    """Diagnosis of one head of a model with planted faults.

    Attributes:
        model: which.
        fault: what was planted in it; None for an untouched head.
        before: what was said of it in the healthy model.
        finding: what is said of it now.
        copied: whether an untouched head is the one that a planted copy repeats.
    """

    model: str
    fault: str | None
    before: Finding
    finding: Finding
    copied: bool = False

    @property
    def detected(self) -> bool:
        """Return True if the planted fault is among the labels, parts and verdicts."""
        finding = self.finding
        if self.fault == "partly uniform":
            return any(one.startswith("uniform on ") for one in finding.partial)
        if self.fault == "harmful":
            return finding.verdict is Verdict.BETTER_WITHOUT
        names = [finding.name, *finding.also]
        if self.fault and self.fault.endswith("tokens before"):
            return f"specialised: {self.fault}" in names
        if self.fault == "sink on a token" and not any("on “" in one for one in finding.sentences):
            return False
        return EXPECTED.get(self.fault or "", self.fault) in [one.split(":")[0] for one in names]

    @property
    def named(self) -> bool:
        """Return True if the planted fault is the label; parts and verdicts have none."""
        return self.finding.label == EXPECTED.get(self.fault or "", self.fault)

    @property
    def false_alarm(self) -> bool:
        """Return True if an untouched head that matters has become degenerate by its label."""
        cost = self.finding.ablation.get("zero")
        return (
            self.fault is None
            and not self.copied
            and self.finding.degenerate
            and not self.before.degenerate
            and cost is not None
            and cost.low > 0
        )


def make_model(name: str) -> Model:
    """Return a classroom model, or a random one of another size with the same tokenizer."""
    if name in CLASSROOM:
        return attnviz.load(name)
    what = name.removeprefix("random ")
    base = attnviz.load({"gpt2": CLASSROOM[0], "bert": CLASSROOM[1], "t5": CLASSROOM[2]}[what])
    words = len(base.tokenizer)
    network: PreTrainedModel
    torch.manual_seed(0)
    if what == "gpt2":
        network = GPT2LMHeadModel(
            GPT2Config(vocab_size=words, n_embd=96, n_layer=3, n_head=6, n_positions=256)
        )
    elif what == "bert":
        network = BertForMaskedLM(
            BertConfig(
                vocab_size=words,
                hidden_size=120,
                num_hidden_layers=5,
                num_attention_heads=6,
                intermediate_size=240,
                max_position_embeddings=256,
            )
        )
    else:
        network = T5ForConditionalGeneration(
            T5Config(
                vocab_size=words,
                d_model=96,
                d_kv=16,
                d_ff=192,
                num_layers=2,
                num_heads=6,
                decoder_start_token_id=0,
                pad_token_id=0,
            )
        )
    _shake(network)
    model = instrument(network, base.vocabulary, name=name)
    return replace(model, prompt=base.prompt)


def _shake(network: nn.Module) -> None:
    """Set random weights with which heads look at different keys for different texts.

    As the library draws them, queries and keys are so small that every head is uniform, and that
    would be the right thing to say of it.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            noise = torch.randn(weights.shape, generator=generator)
            if weights.dim() < 2:
                weights.add_(0.05 * noise)
            elif "relative_attention_bias" in name:
                weights.copy_(noise)
            elif "embed" in name or name.endswith(("wte.weight", "wpe.weight", "shared.weight")):
                weights.copy_(noise * (1.0 if "t5" in type(network).__name__.lower() else 0.5))
            else:
                sharp = any(part in name for part in ("query", "key", "c_attn"))
                sharp = sharp or name.endswith((".q.weight", ".k.weight"))
                scale = 1.6 if sharp else 1.0
                if sharp and "t5" in type(network).__name__.lower():
                    scale = 0.8
                weights.copy_(scale * noise / weights.shape[-1] ** 0.5)


def choose(
    model: Model, fault: str, healthy: Diagnosis, taken: Collection[Head] = ()
) -> list[Head]:
    """Return one head per layer to plant a fault in, none of `taken`."""
    if fault == "peaked":
        limits = replace(healthy.thresholds, alignment=NEARLY_ALIGNED)
        healthy = healthy.relabelled(limits)
    chosen = []
    for kind, (layers, heads) in model.info.heads.items():
        for layer in range(layers):
            options = [
                Head(kind, layer, number)
                for number in range(heads)
                if possible(model, fault, Head(kind, layer, number))
                and Head(kind, layer, number) not in taken
            ]
            plain = [one for one in options if _plain(healthy.finding(one), fault)]
            if fault in COPIES:  # a copy of a faulty head would be faulty twice
                copied = {one: partner(model, one) for one in plain}
                plain = [
                    one
                    for one in plain
                    if not healthy.finding(copied[one]).degenerate and copied[one] not in taken
                ]
            if plain:
                chosen.append(plain[(3 * layer + len(kind)) % len(plain)])
    return chosen[-1:] if fault == "harmful" else chosen  # two of them would hide each other


def _plain(finding: Finding, fault: str) -> bool:
    """Return True if a head has no fault yet; sharpening a head with a pattern is none."""
    names = {finding.label, *(also.split(":")[0] for also in finding.also)}
    if fault == "peaked" and names & {"specialised", "sink", "positional"}:
        return False
    return EXPECTED.get(fault, fault) not in names and not finding.degenerate


def outcomes(
    name: str, model: Model, texts: TextSet, groups: Sequence[Sequence[str]]
) -> Iterator[Outcome]:
    """Plant the faults of each group together, diagnose, and yield the outcome of every head."""
    healthy = diagnose(model, texts, replacements=("zero",))
    read = [one.encoded for one in examples(model, texts)[0]][:FITTED_ON]
    for group in groups:
        heads: dict[str, list[Head]] = {}
        for fault in group:
            heads[fault] = choose(model, fault, healthy, _taken(model, heads))
        if any(heads.values()):
            yield from _diagnosed(name, model, healthy, heads, texts, read)


def _taken(model: Model, planted_heads: Mapping[str, Sequence[Head]]) -> set[Head]:
    """Return the heads that have a fault, and those that copies repeat."""
    return {
        one
        for fault, heads in planted_heads.items()
        for head in heads
        for one in ((head, partner(model, head)) if fault in COPIES else (head,))
    }


def _diagnosed(
    name: str,
    model: Model,
    healthy: Diagnosis,
    planted_heads: Mapping[str, Sequence[Head]],
    texts: TextSet,
    read: Sequence[Encoded],
) -> Iterator[Outcome]:
    """Yield the outcome of every head of a model with faults in some of them."""
    broken = model
    for fault, heads in planted_heads.items():
        if heads:
            broken = planted(broken, fault, heads, read)
    fault_of = {head: fault for fault, heads in planted_heads.items() for head in heads}
    copied = _taken(model, planted_heads) - set(fault_of)
    for finding in diagnose(broken, texts, replacements=("zero",)).findings:
        head = finding.head
        yield Outcome(name, fault_of.get(head), healthy.finding(head), finding, head in copied)


def confusion(outcomes: Sequence[Outcome]) -> str:
    """Return the table of planted faults and labels, with recall and precision, in Markdown."""
    counts: dict[str | None, Counter[str]] = {}
    for one in outcomes:
        if one.fault is not None:
            counts.setdefault(one.fault, Counter())[one.finding.label] += 1
    columns = [label for label in LABELS if any(row[label] for row in counts.values())]
    lines = [
        "| planted | heads | " + " | ".join(columns) + " | named first | found |",
        "|---" * (len(columns) + 4) + "|",
    ]
    for fault, row in counts.items():
        mine = [one for one in outcomes if one.fault == fault]
        among = sum(one.detected for one in mine)
        cells = " | ".join(str(row[label]) if row[label] else "" for label in columns)
        named = sum(one.named for one in mine)
        first = f"{named / len(mine):.0%}" if fault not in ("partly uniform", "harmful") else "–"
        shares = f"{first} | {among / len(mine):.0%}"
        lines.append(f"| {fault} | {len(mine)} | {cells} | {shares} |")
    return "\n".join(lines)


def precision(outcomes: Sequence[Outcome]) -> str:
    """Return, per label, how many of the heads that newly got it had it planted, in Markdown."""
    lines = ["| label | planted | others | precision |", "|---|---|---|---|"]
    for label in LABELS:
        if label == "healthy":  # no fault
            continue
        new = [one for one in outcomes if one.finding.label == label and one.before.label != label]
        right = sum(one.copied or EXPECTED.get(one.fault or "", one.fault) == label for one in new)
        if new:
            lines.append(f"| {label} | {right} | {len(new) - right} | {right / len(new):.0%} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, model by model and together."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted_faults")
    parser.add_argument("--models", nargs="+", default=[*CLASSROOM, *RANDOM])
    parser.add_argument("--texts", type=int, default=30)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    options = parser.parse_args()
    everything: list[Outcome] = []
    for name in options.models:
        model = make_model(name)
        texts = bundled(model.info.family)
        texts = replace(texts, texts=texts.texts[: options.texts])
        results = list(outcomes(name, model, texts, [(one,) for one in options.faults]))
        everything += results
        print(f"\n## {name}\n\n{confusion(results)}", flush=True)
        for one in results:
            if one.fault is not None and not one.detected:
                print(f"  {one.finding.head.label}: {one.fault} was called {one.finding.name}")
                print(f"    {' '.join(one.finding.sentences)}", flush=True)
            if one.fault is None and not one.copied and one.finding.label != one.before.label:
                name = one.finding.head.label
                print(f"  untouched {name}: {one.before.name} is now {one.finding.name}")
            if one.false_alarm:
                print(f"  false alarm: {' '.join(one.finding.sentences)}", flush=True)
    alarms = [one for one in everything if one.false_alarm]
    untouched = sum(one.fault is None for one in everything)
    print(f"\n## All\n\n{confusion(everything)}\n\n{precision(everything)}\n")
    print(f"False alarms on heads that matter: {len(alarms)} of {untouched} untouched heads.")


if __name__ == "__main__":
    main()

"""Figures of models that continue stories: losses on text and on copies, and heads."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool

from attnviz.attention import AttentionStack
from attnviz.models import Model
from attnviz.types import Head, KnownHead
from training.corpus import Corpus
from training.figures import Figure, part_of
from training.head_roles import (
    PERIOD,
    Role,
    Table,
    best,
    earlier_copies,
    mean_table,
    mixed_ids,
    name_heads,
    repeat_ids,
    repeat_stacks,
    second_copy,
    stacks_of,
    text_stacks,
)
from training.position_rules import Rule, best_rule
from training.repeats import BEGIN_ID
from training.stories import OPENINGS, PROBE_LENGTH, next_token_loss, stream

PREVIOUS = Role("previous_token", "previous token", 0.6)
INDUCTION = Role("induction", "induction: what followed the earlier copy", 0.6)
DUPLICATE = Role("duplicate_token", "earlier copies of the same token", 0.5)
SINK = Role("sink_first", "rests on the begin token", 0.8)
SAMPLE = 8  # one window of so many is a sample of a file
BEYOND_GPT = 1.74  # bits per byte: 15% above the 1.517 of the classroom GPT


def previous_tables(model: Model, *periods: int) -> dict[str, Table]:
    """Return the mean weight on the previous token, over text and over copies of random tokens."""
    tables = {"previous-token head, over text": mean_table("previous_token", text_stacks(model))}
    for period in periods:
        name = f"the same head, over {2 * period} random tokens"
        tables[name] = mean_table("previous_token", repeat_stacks(model, period))
    return tables


def previous_figures(model: Model, *periods: int) -> list[Figure]:
    """Return the figures of the head that looks at the previous token, in text and in repeats."""
    tables = previous_tables(model, *periods)
    head, _ = best(np.minimum.reduce(list(tables.values())))
    rule = Rule(1.0, "-1 tokens away")  # the role is a rule of position
    return [
        Figure(name, float(table[head.layer, head.head]), 0.6, note=head.label, rule=rule)
        for name, table in tables.items()
    ]


def copy_figures(model: Model, period: int = PERIOD) -> list[Figure]:
    """Return the figures of two copies of `period` random tokens: the head and what it saves."""
    ids = repeat_ids(model, period)
    head, score = best(second_copy("induction", stacks_of(model, ids)))
    first, second = copy_losses(model, ids)
    return [
        Figure(
            f"induction head, random tokens of period {period}",
            score,
            0.6,
            note=head.label,
            rule=best_rule([earlier_copies(row, after=True) for row in ids]),
        ),
        Figure(
            f"second copy of period {period} cheaper than the first, nats",
            first - second,
            2.0,
            note=f"{first:.2f} and {second:.2f}",
        ),
    ]


def mixed_figure(model: Model, least: float = 0.6) -> Figure:
    """Return the figure of induction where no fixed distance leads to the earlier copy."""
    ids = mixed_ids(model)
    head, score = best(second_copy("induction", stacks_of(model, ids)))
    rule = best_rule([earlier_copies(row, after=True) for row in ids])
    name = "induction head, random tokens of twelve periods from 10 to 120"
    return Figure(name, score, least, note=head.label, rule=rule)


def copy_losses(model: Model, ids: list[list[int]]) -> tuple[float, float]:
    """Return the mean loss per token of the first and of the second copies, nats."""
    with torch.no_grad():
        losses = next_token_loss(model.network, torch.tensor(ids))
    half = losses.shape[1] // 2
    return losses[:, :half].mean().item(), losses[:, half:].mean().item()


def text_losses(model: Model, corpus: Corpus, every: int = 1) -> tuple[float, float]:
    """Return the loss on unseen stories in nats per piece and in bits per byte.

    The stories are cut in windows of 256 tokens that begin with the begin token, the same for every
    model. With `every`, the first window of so many is read: a sample of all stories.
    """
    ids = stream(model.tokenizer, corpus.documents("valid"))
    windows = ids[: len(ids) // (PROBE_LENGTH - 1) * (PROBE_LENGTH - 1)]
    windows = windows.reshape(-1, PROBE_LENGTH - 1)[::every]
    begin = np.full((len(windows), 1), BEGIN_ID)
    batch = torch.from_numpy(np.concatenate([begin, windows], axis=1))
    with torch.no_grad():
        losses = [next_token_loss(model.network, part).double() for part in torch.split(batch, 16)]
    nats = torch.cat(losses).mean().item()
    pieces = model.tokenizer.convert_ids_to_tokens(range(len(model.tokenizer)))
    sizes = np.array([len(piece) for piece in pieces])  # one letter of a piece is one byte
    sizes[model.tokenizer.all_special_ids] = 0
    return nats, nats / math.log(2) * windows.size / float(sizes[windows].sum())


def unseen_figures(model: Model, corpus: Corpus, every: int = 1) -> list[Figure]:
    """Return the figure of unseen stories, or of a sample: bits per byte, and the perplexity."""
    nats, bits = text_losses(model, corpus, every)
    name = f"bits per byte on {part_of('valid.txt', every)}"
    note = f"perplexity per piece {math.exp(nats):.2f}"
    return [Figure(name, bits, BEYOND_GPT, side="below", note=note)]


def known_heads(model: Model) -> list[KnownHead]:
    """Return the heads worth a look; those of copies by rows of many periods."""
    repeats = stacks_of(model, mixed_ids(model))
    return [
        *name_heads(PREVIOUS, np.minimum.reduce(list(previous_tables(model, PERIOD).values()))),
        *name_heads(INDUCTION, second_copy("induction", repeats)),
        *name_heads(DUPLICATE, second_copy("duplicate_token", repeats)),
        *name_heads(SINK, mean_table("sink_first", text_stacks(model)), most=2),
    ]


def rules(model: Model) -> Mapping[str, Rule]:
    """Return, per role of a known head, the best rule of position alone on the same rows."""
    ids = mixed_ids(model)
    return {
        PREVIOUS.name: Rule(1.0, "-1 tokens away"),
        SINK.name: Rule(1.0, "always key 0"),
        INDUCTION.name: best_rule([earlier_copies(row, after=True) for row in ids]),
        DUPLICATE.name: best_rule([earlier_copies(row, after=False) for row in ids]),
    }


def furthest(stack: AttentionStack, layer: int) -> int:
    """Return the largest distance, in tokens, over which any head of a layer has weight."""
    return max(_distance(stack.weights(layer, head) > 0) for head in range(stack.shape[1]))


def _distance(seen: Bool[np.ndarray, "query key"]) -> int:
    queries, keys = seen.nonzero()
    return int((queries - keys).max())


def label_of(model: Model, head: Head) -> str:
    """Return the label of a head, with the model's own number of its layer where that differs."""
    number = model.info.layers[head.kind][head.layer]
    return head.label if number == head.layer else f"{head.label} (layer {number} of the model)"


def samples(model: Model) -> list[str]:
    """Return greedy continuations of story openings, with the model's generation settings."""
    texts = []
    for opening in OPENINGS:
        inputs = model.tokenizer(opening, return_tensors="pt").to(model.network.device)
        ids = model.network.generate(**inputs, max_new_tokens=50, do_sample=False)
        texts.append(model.tokenizer.decode(ids[0], skip_special_tokens=True))
    return texts

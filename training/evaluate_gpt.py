"""The bar of the classroom GPT."""

import math

import numpy as np
import torch

from attnviz.models import Model
from attnviz.types import KnownHead
from training.corpus import Corpus
from training.figures import Figure
from training.gpt import LENGTH
from training.head_roles import (
    PERIOD,
    Role,
    Table,
    best,
    mean_table,
    name_heads,
    repeat_stacks,
    second_copy,
    text_stacks,
)
from training.repeats import BEGIN_ID, two_copies
from training.stories import OPENINGS, next_token_loss, stream

PREVIOUS = Role("previous_token", "previous token", 0.6)
INDUCTION = Role("induction", "induction: what followed the earlier copy", 0.6)
DUPLICATE = Role("duplicate_token", "earlier copies of the same token", 0.5)
SINK = Role("sink_first", "rests on the begin token", 0.8)


def previous_tables(model: Model) -> tuple[Table, Table]:
    """Weight on the previous token, over text and over random tokens."""
    text = mean_table("previous_token", text_stacks(model))
    return text, mean_table("previous_token", repeat_stacks(model))


def figures(model: Model, corpus: Corpus | None) -> list[Figure]:
    """Every figure of the bar that can be measured with what is there."""
    on_text, on_random = previous_tables(model)
    both = np.minimum(on_text, on_random)
    head, _ = best(both)
    place = (head.layer, head.head)
    induction_head, induction = best(second_copy("induction", repeat_stacks(model)))
    first, second = copy_losses(model)
    found = [
        Figure("previous-token head, over text", float(on_text[place]), 0.6, note=head.label),
        Figure("the same head, over random tokens", float(on_random[place]), 0.6, note=head.label),
        Figure(
            "induction head, random tokens of period 50",
            induction,
            0.6,
            note=induction_head.label,
        ),
        Figure(
            "second copy cheaper than the first, nats",
            first - second,
            2.0,
            note=f"{first:.2f} and {second:.2f}",
        ),
    ]
    if corpus is not None:
        found.append(
            Figure("perplexity on valid.txt", perplexity(model, corpus), 60.0, side="below")
        )
    return found


def copy_losses(model: Model) -> tuple[float, float]:
    """Mean loss per token of the first and of the second copy, nats."""
    probe = two_copies(seed=1, rows=8, period=PERIOD, vocabulary=len(model.tokenizer))
    with torch.no_grad():
        losses = next_token_loss(model.network, probe)
    return losses[:, :PERIOD].mean().item(), losses[:, PERIOD:].mean().item()


def perplexity(model: Model, corpus: Corpus) -> float:
    """Exp of the mean loss per token, unseen stories in windows that begin with the begin token."""
    ids = stream(model.tokenizer, corpus.documents("valid"))
    count = len(ids) // (LENGTH - 1)
    windows = ids[: count * (LENGTH - 1)].reshape(count, LENGTH - 1)
    begin = np.full((count, 1), BEGIN_ID)
    batch = torch.from_numpy(np.concatenate([begin, windows], axis=1))
    with torch.no_grad():
        losses = [next_token_loss(model.network, part).mean(1) for part in torch.split(batch, 16)]
    return math.exp(torch.cat(losses).mean().item())


def known_heads(model: Model) -> list[KnownHead]:
    """The heads worth a look."""
    repeats = repeat_stacks(model)
    on_text, on_random = previous_tables(model)
    return [
        *name_heads(PREVIOUS, np.minimum(on_text, on_random)),
        *name_heads(INDUCTION, second_copy("induction", repeats)),
        *name_heads(DUPLICATE, second_copy("duplicate_token", repeats)),
        *name_heads(SINK, mean_table("sink_first", text_stacks(model)), most=2),
    ]


def samples(model: Model) -> list[str]:
    """Greedy continuations of story openings, with the model's own generation settings."""
    found = []
    for opening in OPENINGS:
        inputs = model.tokenizer(opening, return_tensors="pt").to(model.network.device)
        ids = model.network.generate(**inputs, max_new_tokens=50, do_sample=False)
        found.append(model.tokenizer.decode(ids[0], skip_special_tokens=True))
    return found

"""Figures of the classroom BERT and their bars."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture
from attnviz.models import Model
from attnviz.types import KnownHead, Tokens
from training import probe_texts
from training.bert import cloze_hits, encode_stories, masked_accuracy, valid_batches
from training.corpus import Corpus
from training.figures import Figure
from training.head_roles import Role, Table, best, mean_table, name_heads, text_stacks
from training.position_rules import Rule, best_rule

SAMPLE = 1  # the whole file: few of its tokens are masked
PREVIOUS = Role("previous_token", "previous token", 0.5)
NEXT = Role("next_token", "next token", 0.5)
SEPARATOR = Role("separator", "rests on [SEP]", 0.6)
CLASS = Role("class_token", "rests on [CLS]", 0.6)
SAME_WORD = Role("same_word", "same word in the other sentence", 0.5)


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus."""
    stacks = text_stacks(model)
    neighbour = np.maximum(mean_table("previous_token", stacks), mean_table("next_token", stacks))
    special = np.maximum(special_table(stacks, "[SEP]"), special_table(stacks, "[CLS]"))
    with torch.no_grad():
        fitting = sum(hit for _, _, hit in cloze_hits(model.network, model.tokenizer))
    rule = rules(model)
    named = [
        ("head on a neighbour (previous or next token)", neighbour, 0.5, rule[PREVIOUS.name]),
        ("head on [SEP] or [CLS]", special, 0.6, rule[CLASS.name]),
        (
            "head on the same word in the other sentence",
            same_word_table(model),
            0.5,
            rule[SAME_WORD.name],
        ),
    ]
    result = [Figure("cloze sentences with a fitting word in the first five of 40", fitting, 30)]
    for name, table, bar, position in named:
        head, score = best(table)
        result.append(Figure(name, score, bar, note=head.label, rule=position))
    return result


def unseen_figures(model: Model, corpus: Corpus, every: int = 1) -> list[Figure]:
    """Return the figure of unseen stories; a sample of them is not made."""
    if every != 1:
        raise ValueError(f"every={every}: masked tokens are measured on the whole file")
    stories = encode_stories(model.tokenizer, corpus.documents("valid"))
    with torch.no_grad():
        _, accuracy = masked_accuracy(model.network, valid_batches(stories, 512))
    return [Figure("masked-token accuracy on valid.txt", accuracy, 0.35)]


def special_table(stacks: Sequence[AttentionStack], token: str) -> Table:
    """Return the mean weight that words give to a special token."""
    rows = [weight_on(stack, special_keys(stack, token)) for stack in stacks]
    table: Table = np.concatenate(rows, axis=-1).mean(-1)
    return table


def special_keys(stack: AttentionStack, token: str) -> Bool[np.ndarray, "query key"]:
    """Return which keys are a special token, for queries that are words."""
    keys = np.array([label == token for label in stack.key_tokens.labels])
    wanted: np.ndarray = ~stack.query_tokens.special[:, None] & keys[None, :]
    return wanted


def weight_on(
    stack: AttentionStack, wanted: Bool[np.ndarray, "query key"]
) -> Float[np.ndarray, "layer head row"]:
    """Return the weight on the wanted keys of every query that has one."""
    chosen = wanted.any(axis=1)
    table = [
        (stack.weights(layer, head)[chosen] * wanted[chosen]).sum(-1)
        for layer, head in np.ndindex(*stack.shape[:2])
    ]
    on: np.ndarray = np.stack(table).reshape(*stack.shape[:2], -1)
    return on


def same_word_table(model: Model) -> Table:
    """Return the mean weight on the same token in the other sentence, over shared words."""
    rows = [weight_on(stack, same_word(stack.query_tokens)) for stack in pair_stacks(model)]
    table: Table = np.concatenate(rows, axis=-1).mean(-1)
    return table


def pair_stacks(model: Model) -> list[AttentionStack]:
    """Return the attention over the sentence pairs that share words."""
    return [
        capture(model, first, pair=second, predict=False)["self"]
        for first, second in probe_texts.pairs()
    ]


def rules(model: Model) -> Mapping[str, Rule]:
    """Return, per role of a known head, the best rule of position alone on the same rows."""
    stacks = text_stacks(model)
    return {
        PREVIOUS.name: Rule(1.0, "-1 tokens away"),
        NEXT.name: Rule(1.0, "+1 tokens away"),
        SEPARATOR.name: best_rule([special_keys(stack, "[SEP]") for stack in stacks]),
        CLASS.name: best_rule([special_keys(stack, "[CLS]") for stack in stacks]),
        SAME_WORD.name: best_rule([same_word(one.query_tokens) for one in pair_stacks(model)]),
    }


def same_word(tokens: Tokens) -> Bool[np.ndarray, "query key"]:
    """Return the pairs of tokens that are the same word in different sentences."""
    segments = tokens.segments
    if segments is None:
        raise ValueError("these tokens have no segments: the model takes no sentence pairs")
    word = np.array([label.lstrip("#").isalpha() for label in tokens.labels]) & ~tokens.special
    same = tokens.ids[:, None] == tokens.ids[None, :]
    other = segments[:, None] != segments[None, :]
    pairs: np.ndarray = same & other & word[:, None]
    return pairs


def known_heads(model: Model) -> list[KnownHead]:
    """Return the heads with a known role."""
    stacks = text_stacks(model)
    return [
        *name_heads(SAME_WORD, same_word_table(model)),
        *name_heads(PREVIOUS, mean_table("previous_token", stacks), most=2),
        *name_heads(NEXT, mean_table("next_token", stacks), most=2),
        *name_heads(SEPARATOR, special_table(stacks, "[SEP]"), most=2),
        *name_heads(CLASS, special_table(stacks, "[CLS]"), most=2),
    ]


def samples(model: Model) -> list[str]:
    """Return every cloze sentence with its first five guesses."""
    with torch.no_grad():
        hits = cloze_hits(model.network, model.tokenizer)
    return [f"{'+' if hit else '-'} {sentence}: {' '.join(top)}" for sentence, top, hit in hits]

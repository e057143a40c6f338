"""Figures of the classroom T5 and their bars."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from tokenizers import Encoding

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.models import Model
from attnviz.types import Kind, KnownHead
from training import probe_texts
from training.corpus import Corpus
from training.figures import Figure, part_of
from training.head_roles import Role, Table, mean_table, name_heads
from training.position_rules import Rule, best_rule
from training.probe_texts import Aligned
from training.translation import PREFIX, bleu, translate

SAMPLE = 4  # one sentence of so many is a sample of a file
PREVIOUS = Role("previous_token", "previous token", 0.5)
NEXT = Role("next_token", "next token", 0.5)
WORD = re.compile(r"\w+")


class Row(NamedTuple):
    """Row of cross-attention in which a word's source is searched, and the head that marks it."""

    label: str
    shift: int
    role: Role


ROWS = (
    Row(
        "row that predicts the word",
        -1,
        Role("alignment", "looks at the word it is translating", 0.5),
    ),
    Row(
        "row of the word itself",
        0,
        Role("alignment", "looks at the word it has just translated", 0.5),
    ),
)


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus."""
    tables = {row.label: alignment_table(model, row.shift) for row in ROWS}
    label, table = max(tables.items(), key=lambda item: item[1].max())
    layer, head = np.unravel_index(int(table.argmax()), table.shape)
    others = ", ".join(f"{name} {one.max():.2f}" for name, one in tables.items())
    result = [
        Figure(
            "content words whose right source word has the most weight",
            float(table.max()),
            0.5,
            note=f"cross L{layer}·H{head}, {label} (best heads: {others})",
            rule=rules(model)["alignment"],
        )
    ]
    judged = probe_texts.judgements()
    accepted = sum(one.acceptable for one in judged)
    result.append(Figure("acceptable translations of 80 short sentences", accepted, 60))
    return result


def unseen_figures(model: Model, corpus: Corpus, every: int = 1) -> list[Figure]:
    """Return the figure of unseen sentences, or of a sample of them."""
    return [Figure(f"BLEU on {part_of('test.tsv', every)}", test_bleu(model, corpus, every), 25.0)]


def test_bleu(model: Model, corpus: Corpus, every: int = 1) -> float:
    """Return corpus BLEU; a sentence with several translations counts for each.

    With `every`, the first English sentence of so many is translated: a sample of all pairs.
    """
    sentences = list(dict.fromkeys(english for english, _ in corpus.pairs("test")))[::every]
    chosen = set(sentences)
    pairs = [(english, french) for english, french in corpus.pairs("test") if english in chosen]
    answers = translate(model.network, model.tokenizer, sentences)
    by_sentence = dict(zip(sentences, answers, strict=True))
    return bleu([by_sentence[english] for english, _ in pairs], [french for _, french in pairs])


def short_sentences(corpus: Corpus, count: int = 80, words: int = 5) -> list[str]:
    """Return different short English sentences at equal steps through the file."""
    sentences = dict.fromkeys(english for english, _ in corpus.pairs("test"))
    short = [sentence for sentence in sentences if len(sentence.split()) <= words]
    return [short[index * len(short) // count] for index in range(count)]


def alignment_table(model: Model, shift: int) -> Table:
    """Return the share of hand-aligned French words whose argmax over English words is right.

    Weights are summed over the pieces of an English word and averaged over the pieces of a French
    one (Kobayashi et al. 2020). All English words compete, those of the prefix and the end token
    included.
    """
    hits: list[np.ndarray] = []
    for pair in probe_texts.alignments():
        best = word_weights(model, pair, shift).argmax(-1)  # (layer, head, french)
        right = right_words(pair)
        for french in np.flatnonzero(right.any(axis=1)):
            hits.append(np.isin(best[:, :, french], np.flatnonzero(right[french])))
    table: Table = np.mean(hits, axis=0)
    return table


def right_words(pair: Aligned) -> Bool[np.ndarray, "french english"]:
    """Return which English words, those of the prefix included, are right for a French one."""
    english, french = WORD.findall(PREFIX + pair.english), WORD.findall(pair.french)
    right = np.zeros((len(french), len(english)), dtype=bool)
    for french_word, english_word in pair.words:
        right[french.index(french_word)] = [word == english_word for word in english]
    return right


def rules(model: Model) -> Mapping[str, Rule]:
    """Return, per role of a known head, the best rule of position alone on the same rows.

    The rules of alignment know words: a word d words on, or the one on the diagonal between the
    words behind the prefix and those of the translation.
    """
    tables = [right_words(pair) for pair in probe_texts.alignments()]
    return {
        "alignment": best_rule(tables, diagonal=len(WORD.findall(PREFIX))),
        PREVIOUS.name: Rule(1.0, "-1 tokens away"),
        NEXT.name: Rule(1.0, "+1 tokens away"),
    }


def word_weights(
    model: Model, pair: Aligned, shift: int
) -> Float[np.ndarray, "layer head french english"]:
    """Return the cross attention between words; the last English column is the end token."""
    source = model.tokenizer(PREFIX + pair.english)
    target = model.tokenizer(pair.french)
    encoded = Encoded(tuple(source["input_ids"]), target=(0, *target["input_ids"][:-1]))
    stack = capture_ids(model, [encoded], predict=False)[0]["cross"]
    weights = np.stack([stack.weights(layer, head) for layer, head in np.ndindex(*stack.shape[:2])])
    columns = word_pieces(source.encodings[0], PREFIX + pair.english)
    rows = word_pieces(target.encodings[0], pair.french)
    end = [len(source["input_ids"]) - 1]
    by_source = np.stack([weights[:, :, part].sum(-1) for part in (*columns, end)], axis=-1)
    # Decoder position p + 1 holds piece p of the target, position p predicts it.
    by_word = np.stack(
        [by_source[:, [piece + 1 + shift for piece in part]].mean(1) for part in rows], axis=1
    )
    return by_word.reshape(*stack.shape[:2], *by_word.shape[1:])


def word_pieces(encoding: Encoding, text: str) -> list[list[int]]:
    """Return, for every word of a text, the positions of the pieces it was cut into."""
    pieces = []
    for match in WORD.finditer(text):
        places = [
            index
            for index, (start, end) in enumerate(encoding.offsets)
            if start < match.end() and end > match.start()
        ]
        pieces.append(places)
    return pieces


def self_stacks(model: Model, kind: Kind) -> list[AttentionStack]:
    """Return the attention of the encoder or decoder over the hand-aligned pairs."""
    encoded = [
        Encoded(
            tuple(model.tokenizer(PREFIX + pair.english)["input_ids"]),
            target=(0, *model.tokenizer(pair.french)["input_ids"][:-1]),
        )
        for pair in probe_texts.alignments()
    ]
    return [one[kind] for one in capture_ids(model, encoded, predict=False)]


def known_heads(model: Model) -> list[KnownHead]:
    """Return the heads with a known role."""
    tables = [alignment_table(model, row.shift) for row in ROWS]
    highest = np.maximum(*tables)
    aligned = [  # a head is named by the row in which it is the better one
        one
        for row, table in zip(ROWS, tables, strict=True)
        for one in name_heads(row.role, np.where(table == highest, table, 0), "cross")
    ]
    encoder, decoder = self_stacks(model, "encoder"), self_stacks(model, "decoder")
    return [
        *sorted(aligned, key=lambda one: -one.score)[:3],
        *name_heads(PREVIOUS, mean_table("previous_token", encoder), "encoder", most=2),
        *name_heads(NEXT, mean_table("next_token", encoder), "encoder", most=2),
        *name_heads(PREVIOUS, mean_table("previous_token", decoder), "decoder", most=2),
    ]


def samples(model: Model) -> list[str]:
    """Return the judged sentences as the model translates them now."""
    sentences = [one.english for one in probe_texts.judgements()]
    answers = translate(model.network, model.tokenizer, sentences)
    return [f"{english} -> {answer}" for english, answer in zip(sentences, answers, strict=True)]

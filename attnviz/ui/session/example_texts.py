"""Texts in which something is worth seeing, for each family of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnviz.types import Family

__all__ = ["EXAMPLES", "Example", "examples_of"]


@dataclass(frozen=True)
class Example:
    """Text to start from.

    Attributes:
        title: for a menu.
        text: what the model reads.
        pair: a second sentence, for encoders.
        target: what the decoder is to write; empty lets the model write it.
        hint: what to look for.
    """

    title: str
    text: str
    pair: str = ""
    target: str = ""
    hint: str = ""


EXAMPLES: Mapping[Family, tuple[Example, ...]] = {
    "decoder": (
        Example(
            "A repeated phrase",
            "The little fox ran into the dark forest. The old owl saw that the little fox ran into "
            "the dark",
            hint="In the second “little fox ran”, an induction head looks at what came next the "
            "first time.",
        ),
        Example(
            "Names that come back",
            "Anna gave the ball to Ben. Then Ben gave the ball to Clara. Then Clara gave the ball "
            "to",
            hint="Which heads find the names again?",
        ),
        Example(
            "Counting",
            "one two three four five six one two three four five six one two three",
            hint="Three copies of one list: the stripes of duplicate and induction heads.",
        ),
        Example(
            "A story begins",
            "Once upon a time there was a poor woodcutter who lived with his wife and his two "
            "children near a great forest.",
            hint="Nothing repeats here: previous-token heads and sinks remain.",
        ),
    ),
    "encoder": (
        Example(
            "A word with two meanings",
            "She took her money to the bank.",
            pair="They sat on the bank of the river.",
            hint="Click “bank” in each sentence: which words does it look at?",
        ),
        Example(
            "A gap to fill",
            "The cat drank the [MASK] and then it went to sleep.",
            hint="The predictions under the token strip show what the model would put there.",
        ),
        Example(
            "The same words twice",
            "The king gave his daughter a golden ring.",
            pair="The golden ring fell into the water and the king was sad.",
            hint="Some heads look for the same word in the other sentence.",
        ),
        Example(
            "Who is meant?",
            "The dog did not cross the road because it was too tired.",
            hint="Where does “it” look?",
        ),
    ),
    "encoder-decoder": (
        Example(
            "A colour",
            "The house is blue.",
            hint="Find the row of a French word. In layer 0 that row looks at the English word; in "
            "later layers the row above does.",
        ),
        Example(
            "Words change places",
            "She gave me a red book yesterday.",
            hint="“red book” becomes “livre rouge”: the two lines cross in the map.",
        ),
        Example(
            "Two words for one",
            "I do not like cats.",
            hint="“not” becomes “n’ … pas”: which of the two looks at it?",
        ),
        Example(
            "Your own translation",
            "Where is the station?",
            target="Où est la gare ?",
            hint="The target is given here; try a wrong one and see which words get expensive.",
        ),
    ),
}

OF_MODELS: Mapping[str, tuple[Example, ...]] = {
    "llama-classroom": (
        Example(
            "Beyond a window",
            "river candle seven window apple king stone letter green mother ladder bread silver "
            "horse winter button garden paper tiger music island carpet doctor yellow bridge "
            "pocket summer feather hammer kitchen road apron moon dancer basket sugar soldier "
            "needle cloud pepper hat forest teacher wheel butter snow lion ship cheese flower "
            "drum wolf river candle seven window apple king stone letter green mother ladder "
            "bread",
            hint="The list begins again after 70 tokens. Layers 1 and 3 have a window of 64: what "
            "lies further back is hatched. Layers 0 and 2 see all of it, and a head of layer 2 "
            "finds the word that came next.",
        ),
        Example(
            "Four heads, one set of keys",
            "The red bird sang in the green tree. The red bird sang in the green",
            hint="Heads 0 to 3 share their keys and values, and so do heads 4 to 7. Under Queries "
            "and keys the keys of two such heads are the same; only the queries differ.",
        ),
    ),
    "hybrid-classroom": (
        Example(
            "One layer with attention",
            "The little fox ran into the dark forest. The old owl saw that the little fox ran into "
            "the dark",
            hint="Three of the four layers are state spaces, which keep a summary of fixed size. "
            "The one layer with attention looks the first copy up.",
        ),
        Example(
            "Without positions",
            "one two three four five six one two three four five six one two three",
            hint="This attention is given no positions. It can tell the copies apart only by what "
            "the state spaces below have written into the tokens.",
        ),
    ),
}
"""Examples of what is special about one shipped model, shown before those of its family."""


def examples_of(name: str, family: Family) -> tuple[Example, ...]:
    """Return the examples for a model: those for it alone, then those of its family."""
    for_model = OF_MODELS.get(name, ())
    texts = {example.text for example in for_model}
    return for_model + tuple(one for one in EXAMPLES[family] if one.text not in texts)

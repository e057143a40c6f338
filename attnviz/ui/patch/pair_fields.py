"""Fields for the two texts of page Patch, and for the two words that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from attnviz.errors import InputError
from attnviz.experiments.patching.text_alignment import Partners
from attnviz.experiments.patching.text_pair import (
    LogitDifference,
    TextPair,
    label_of,
    likeliest,
    word_id,
)
from attnviz.models import Encoded, Model, encode
from attnviz.ui.components.choices import shortcuts
from attnviz.ui.patch.pair_alignment import aligned
from attnviz.ui.patch.pair_examples import PAIRS, PairExample
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import plain, show_plain

__all__ = ["ChosenPair", "choose_pair"]

FIELDS = ("clean", "corrupted", "answer", "other", "target")


@dataclass(frozen=True)
class ChosenPair:
    """Pair of texts of the page, and the logits that are compared.

    Attributes:
        clean: request of the clean text, for maps of its attention.
        corrupted: request of the corrupted text.
        pair: both as ids.
        difference: the two tokens and the position.
        answer: printable text of the first token.
        other: printable text of the second token.
    """

    clean: Request
    corrupted: Request
    pair: TextPair
    difference: LogitDifference
    answer: str
    other: str


def choose_pair(model: Model) -> ChosenPair:
    """Show the fields, and return what is in them.

    Raises:
        AttnvizError: a text or word is empty or too long, or marks do not fit.
    """
    family = model.info.family
    pairs = PAIRS[family]
    keys = {name: f"patch_{name}:{family}" for name in FIELDS}
    for name, key in keys.items():
        st.session_state.setdefault(key, getattr(pairs[0], name))
    _choose_example(pairs, family, keys)
    left, right = st.columns(2, gap="medium")
    with left:
        clean = _field("Clean text", keys["clean"], "Parts of the run on this text are put in.")
        answer = _field("Answer", keys["answer"], "Empty: the likeliest token.", short=True)
    with right:
        corrupted = _field("Corrupted text", keys["corrupted"], "They are put into this run.")
        other = _field("Other answer", keys["other"], "Empty: the likeliest token.", short=True)
    target = ""
    if family == "encoder-decoder":
        target = _field(
            "Beginning of the output", keys["target"], "The model continues it.", short=True
        )
        if not target.strip():
            raise InputError("type the beginning of the output; the next token is compared")
    texts = (clean, corrupted)
    note = next((one.note for one in pairs if (one.clean, one.corrupted) == texts), "")
    if note:
        st.caption(f":material/info: {plain(note)}")
    one, two = (Request(model.info.name, text, "", target) for text in (clean, corrupted))
    ids = _encoded(model, one), _encoded(model, two)
    pair = aligned(model, TextPair(*ids, _masks(model, *ids)))
    pair.check(model)
    position = _position(model, pair)
    first = _token(model, answer, pair.clean, position)
    there = pair.in_corrupted(LogitDifference(first, None, position)).position
    second = _token(model, other, pair.corrupted, there)
    if first == second:
        raise InputError(
            f"both answers are the token {label_of(model, first)}; give two words that begin "
            "differently"
        )
    difference = LogitDifference(first, second, position)
    return ChosenPair(one, two, pair, difference, label_of(model, first), label_of(model, second))


def _choose_example(pairs: Sequence[PairExample], family: str, keys: dict[str, str]) -> None:
    """Show the examples; the one whose texts are in the fields is selected."""

    def take(chosen: PairExample) -> None:
        for name, key in keys.items():
            st.session_state[key] = getattr(chosen, name)
        for key in (f"patch_{state.LAYER}", f"patch_{state.HEAD}"):  # the strongest head
            st.session_state.pop(key, None)
            st.query_params.pop(key, None)

    values = {name: st.session_state[key] for name, key in keys.items()}
    shortcuts(
        "Examples",
        pairs,
        f"patch_example:{family}",
        current=next(
            (one for one in pairs if all(getattr(one, name) == values[name] for name in FIELDS)),
            None,
        ),
        label_of=lambda one: one.title,
        on_choice=take,
    )


def _field(label: str, key: str, explanation: str, *, short: bool = False) -> str:
    if short:
        return str(st.text_input(label, key=key, help=explanation, persist_state="session"))
    return str(st.text_area(label, key=key, height=80, help=explanation, persist_state="session"))


def _encoded(model: Model, request: Request) -> Encoded:
    """Return a text as ids; an output that begins is not closed by its end token."""
    encoded = encode(
        model,
        model.prompt + request.text if request.text.strip() else "",
        target=request.target or None,
    )
    return replace(encoded, closing=None)


def _masks(model: Model, clean: Encoded, corrupted: Encoded) -> tuple[Partners, ...]:
    """Return the places of the first masks, which are partners where the lengths are unequal."""
    if model.info.family != "encoder" or len(clean.ids) == len(corrupted.ids):
        return ()
    mask = model.tokenizer.mask_token_id
    places = [one.ids.index(mask) for one in (clean, corrupted) if mask in one.ids]
    return ((places[0], places[1]),) if len(places) == 2 else ()


def _position(model: Model, pair: TextPair) -> int:
    """Return the position that predicts: the last one, or the first mask of an encoder."""
    if model.info.family != "encoder":
        return -1
    mask = model.tokenizer.mask_token_id
    places = [at for at, token in enumerate(pair.clean.ids) if token == mask]
    partner = pair.texts().partner(places[0]) if places else None
    if partner is None or pair.corrupted.ids[partner] != mask:
        raise InputError(
            f"{model.info.name} predicts masked tokens: put {model.tokenizer.mask_token} into both "
            "texts, at the same place"
        )
    return places[0]


def _token(model: Model, word: str, text: Encoded, position: int) -> int:
    """Return the token of a typed word, or the likeliest one of a text."""
    if not word.strip():
        return likeliest(model, text, position)[0]
    token, whole = word_id(model, word)
    if not whole:
        show_plain(f"“{word.strip()}” has several tokens; its first one is compared.", small=True)
    return token

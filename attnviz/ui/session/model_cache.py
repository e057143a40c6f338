"""Models and captures, shared by all sessions of a server and bounded in number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float, UInt8

from attnviz import metrics
from attnviz.attention.stack.small_patterns import small_patterns
from attnviz.captures.checked_load import load
from attnviz.captures.forward_pass import Capture, capture, encode
from attnviz.captures.proof import verify
from attnviz.captures.summary import summarize
from attnviz.errors import ModelNotSupported, TextTooLong
from attnviz.experiments import repetition
from attnviz.models import Model, reads_its_text_twice, shipped
from attnviz.types import Kind, Proof
from attnviz.ui.server.download_progress import offer_download
from attnviz.ui.server.permissions import check_model
from attnviz.ui.server.run_places import LOADS, LONG, aside, is_long
from attnviz.ui.server.visitors import session, still_connected
from attnviz.ui.session.capture_cache import Shelf
from attnviz.ui.session.example_texts import examples_of
from attnviz.ui.session.progress import reading_bar, spinner

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "MAX_TOKENS",
    "PROVED_TOKENS",
    "Request",
    "allowed_folders",
    "captured",
    "head_numbers",
    "head_pictures",
    "load_model",
    "most_characters",
    "proved",
    "reading",
    "repeated",
    "summary",
]

MAX_TOKENS = int(os.environ.get("ATTNVIZ_MAX_TOKENS", "4096"))
"""Longest text a page shows, where the model has room for that much."""

CHARACTERS_PER_TOKEN = 16
"""Characters that are read per token of `MAX_TOKENS`; a token of a usual text has 3 to 5."""

CACHE_BYTES = int(os.environ.get("ATTNVIZ_CACHE_MB", "1024")) * 10**6
"""Memory for captures of all visitors together."""

PROVED_TOKENS = 512
"""The library's eager attention holds all weights of a layer: it is run on no more than this."""

REPEATED_TOKENS = 256
"""Longest text that is repeated: its two copies are drawn cell by cell."""

LOGIT_BYTES = 1 << 30
"""Texts whose logits would take more get no predictions."""


# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose a model that a
# run uses, and a run that waits for a value must be able to give its place to others.
_SHIPPED: Shelf[Model] = Shelf(1 << 60, entries=8)
"""Shipped models: small and always needed, so that a large one never removes them."""

_OTHERS: Shelf[Model] = Shelf(1 << 60, entries=2)
"""Models from the hub and from folders."""

_CAPTURES: Shelf[Capture] = Shelf(CACHE_BYTES)
"""Captures of all visitors."""

_REPEATED: Shelf[repetition.Repetition] = Shelf(CACHE_BYTES // 4, entries=16)
"""Repetition experiments of all visitors."""


@dataclass(frozen=True)
class Request:
    """Input of a capture, with everything that it depends on.

    Texts are cut to `most_characters` first.

    Attributes:
        model: name of the model.
        text: what the model reads.
        pair: second sentence, for encoders.
        target: output of an encoder-decoder; empty where the model writes it.
        begin: whether a decoder's text starts with the begin token.
        left_out: number of characters that were cut off the texts.
    """

    model: str
    text: str
    pair: str = ""
    target: str = ""
    begin: bool = True
    left_out: int = field(init=False, default=0, repr=False, compare=False)

    def __post_init__(self) -> None:
        room, left_out = most_characters(), 0
        for name in ("text", "pair", "target"):
            given = getattr(self, name)
            if len(given) > room:
                left_out += len(given) - room
                object.__setattr__(self, name, given[:room])
        object.__setattr__(self, "left_out", left_out)


def most_characters() -> int:
    """Return the length to which a text is cut before it is tokenised, in characters."""
    return CHARACTERS_PER_TOKEN * MAX_TOKENS


def allowed_folders() -> tuple[Path, ...]:
    """Return where this server may load local models from.

    The folders in ATTNVIZ_MODEL_FOLDERS (separated like PATH), or `models` in the working folder.
    """
    named = os.environ.get("ATTNVIZ_MODEL_FOLDERS", "models")
    return tuple(Path(folder) for folder in named.split(os.pathsep) if folder)


def load_model(name: str) -> Model:
    """Return a model, from memory if it has been used lately.

    Raises:
        ModelNotAllowed: this server allows its visitors other models only.
        ModelError: as `attnviz.load`.
    """
    check_model(name)
    if shipped(name):
        return _SHIPPED.get(name, lambda: load(name), lambda: spinner("Loading the model …"))
    return _OTHERS.get(name, lambda: _load_other(name), lambda: _loading(name))


def _load_other(name: str) -> Model:
    model = load(name, allowed_folders=allowed_folders(), wanted=still_connected())
    if model.sites.reads != ("input_ids",):
        raise ModelNotSupported(
            f"{model.info.name} reads {' and '.join(model.sites.reads)}, and these pages show "
            "texts; look at it in Python with attnviz.capture_inputs"
        )
    return model


@contextmanager
def _loading(name: str) -> Iterator[None]:
    if session():  # a page: a download starts with a click, and ends the page until it is there
        offer_download(name, allowed_folders())
    with aside(LOADS, "Another model is being loaded"), spinner("Loading the model …"):
        yield


def captured(request: Request) -> Capture:
    """Return the capture of a request; of a text that is too long, `Capture.cut` has the rest.

    Raises:
        AttnvizError: as `attnviz.load` and `attnviz.capture`.
    """
    return _CAPTURES.get(
        request,
        lambda: _run(load_model(request.model), request, MAX_TOKENS, reading_bar()),
        lambda: reading(request),
    )


@contextmanager
def reading(request: Request) -> Iterator[None]:
    """Wait for the place that the pass needs; visitors with the same request wait for it too."""
    model = load_model(request.model)
    tokens = min(MAX_TOKENS, model.info.max_tokens or MAX_TOKENS, len(request.text) // 3)
    with _place(model, tokens), spinner("Reading the text …"):
        yield


def _place(model: Model, tokens: int) -> AbstractContextManager[None]:
    if is_long(model, tokens):
        return aside(LONG, "Another long text is being read")
    return nullcontext()


@st.cache_resource(max_entries=64, show_spinner=False)
def head_numbers(request: Request, kind: Kind) -> Mapping[str, Float[np.ndarray, "layer head"]]:
    """Return every metric of every head that exists for this text; cached."""
    stack = captured(request)[kind]
    numbers = {name: metrics.per_head(name, stack) for name in metrics.names()}
    known = {name: table for name, table in numbers.items() if not np.isnan(table).all()}
    return known or numbers  # of a model without a single finite head, a map without numbers


@st.cache_resource(max_entries=16, show_spinner=False)
def head_pictures(request: Request, kind: Kind) -> UInt8[np.ndarray, "layer head row column"]:
    """Return the weights of every head, made small; cached. See `small_patterns`."""
    return small_patterns(captured(request)[kind])


@st.cache_resource(max_entries=16, show_spinner=False)
def summary(request: Request) -> pd.DataFrame:
    """Return every metric of every head of every kind, as a table to be read."""
    return summarize(captured(request))


def proved(request: Request) -> tuple[Proof, int | None]:
    """Compare the capture of a request with the library's own eager attention.

    Returns the proof, and the number of tokens that were compared where the text is longer than
    `PROVED_TOKENS`: then its first tokens are captured separately. Otherwise the capture on the
    page is compared, and only the library runs.

    Raises:
        AttnvizError: as `captured`.
    """
    model = load_model(request.model)
    shown = captured(request)
    tokens = max(max(shown[kind].shape[2:]) for kind in shown)
    first = PROVED_TOKENS if tokens > PROVED_TOKENS else None
    if first is not None:
        shown = _run(model, request, first)
    # The capture on the page may be older than the model that is in memory now.
    return verify(shown, model=model), first


def _run(
    model: Model,
    request: Request,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    text = model.prompt + request.text if request.text.strip() else ""
    return capture(
        model,
        text,
        pair=request.pair or None,
        target=request.target or None,
        begin=request.begin,
        cut=True,
        limit=limit,
        predict=_has_room_for_logits(model, text, limit),
        progress=progress,
    ).on_host()


def _has_room_for_logits(model: Model, text: str, limit: int) -> bool:
    words = int(model.network.get_input_embeddings().weight.shape[0])
    if min(limit, len(text) + 2) * words * 4 <= LOGIT_BYTES:
        return True  # a token is a letter at least
    return len(encode(model, text, cut=True, limit=limit).ids) * words * 4 <= LOGIT_BYTES


def repeated(
    model_name: str, text: str | None, period: int, sequences: int, seed: int
) -> repetition.Repetition:
    """Return the repetition experiment: on random tokens, or on a text when one is given.

    Raises:
        AttnvizError: as `attnviz.experiments.repetition`.
    """
    model = load_model(model_name)
    if text is not None:
        _check_repeated(model, text)

    @contextmanager
    def running() -> Iterator[None]:
        tokens = 2 * period * sequences if text is None else 2 * REPEATED_TOKENS
        with _place(model, tokens), spinner("Running the repeated sequences …"):
            yield

    def run() -> repetition.Repetition:
        if text is not None:
            return repetition.repeat_text(model, text)
        return repetition.repeat_random(model, period=period, sequences=sequences, seed=seed)

    return _REPEATED.get((model_name, text, period, sequences, seed), run, running)


def _check_repeated(model: Model, text: str) -> None:
    encoded = encode(model, text, begin=False, cut=True, limit=REPEATED_TOKENS)
    tokens = len(encoded.ids) + encoded.cut
    # What the model itself has no room for, the experiment refuses.
    if encoded.cut and 2 * tokens < (model.info.max_tokens or 2 * tokens + 1):
        raise TextTooLong(
            f"this text has {tokens:,} tokens, and texts of up to {REPEATED_TOKENS:,} are "
            "repeated on this page; shorten it",
            tokens=tokens,
            limit=REPEATED_TOKENS,
        )


def default_request(model_name: str) -> Request:
    """Return the request that is shown before a text is typed."""
    model = load_model(model_name)
    example = examples_of(model.info.name, model.info.family)[0]
    target = "" if reads_its_text_twice(model.network) else example.target
    return Request(model_name, example.text, example.pair, target)

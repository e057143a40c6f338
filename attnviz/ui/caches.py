"""Models and captures, shared by all sessions of a server and bounded in number."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from attnviz import metrics, probes
from attnviz.captures import Capture, capture, encode
from attnviz.errors import ModelNotSupported, TextTooLong
from attnviz.models import Model, shipped
from attnviz.proof import load, verify
from attnviz.summary import summarize
from attnviz.types import Kind, Proof
from attnviz.ui.examples import EXAMPLES
from attnviz.ui.reading import reading_bar
from attnviz.ui.shelf import Shelf

__all__ = [
    "MAX_TOKENS",
    "PROVED_TOKENS",
    "Request",
    "allowed_folders",
    "captured",
    "head_numbers",
    "load_model",
    "proved",
    "repeated",
    "summary",
]

MAX_TOKENS = int(os.environ.get("ATTNVIZ_MAX_TOKENS", "4096"))
"""Longest text a page shows, where the model has room for that much."""

CACHE_MB = int(os.environ.get("ATTNVIZ_CACHE_MB", "1024"))
"""Memory for captures of all visitors together."""

PROVED_TOKENS = 512
"""The library's eager attention holds all weights of a layer: it is run on no more than this."""

REPEATED_TOKENS = 256
"""Longest text that is repeated: its two copies are drawn cell by cell."""

LOGIT_BYTES = 1 << 30
"""Texts whose logits would take more get no predictions."""


# Module state, not `st.cache_resource`: clearing Streamlit's caches must not replace a lock that a
# thread holds, nor a semaphore whose places are taken.
_LOADING = threading.Lock()
"""Held while a model is loaded: the library patches functions of the process meanwhile."""

_PASSES = threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) - 1))
"""Limits forward passes at a time to the number of processors, less one."""

_CAPTURES: Shelf[Capture] = Shelf(CACHE_MB << 20)
"""Captures of all visitors."""


@dataclass(frozen=True)
class Request:
    """What a person wants to see: everything a capture depends on."""

    model: str
    text: str
    pair: str = ""
    target: str = ""
    begin: bool = True


def allowed_folders() -> tuple[Path, ...]:
    """Where this server may load local models from.

    The folders in ATTNVIZ_MODEL_FOLDERS (separated like PATH), or `models` in the working folder.
    """
    named = os.environ.get("ATTNVIZ_MODEL_FOLDERS", "models")
    return tuple(Path(folder) for folder in named.split(os.pathsep) if folder)


def load_model(name: str) -> Model:
    """A model, from the cache if somebody has used it lately.

    Raises:
        ModelError: as `attnviz.load`.
    """
    return _load_shipped(name) if shipped(name) else _load_other(name)


# Shipped models are small and wanted all the time; one large visitor must not push them out.
@st.cache_resource(max_entries=8, show_spinner="Loading the model …")
def _load_shipped(name: str) -> Model:
    with _LOADING:
        return load(name)


@st.cache_resource(max_entries=2, show_spinner="Loading the model …")
def _load_other(name: str) -> Model:
    with _LOADING:
        model = load(name, allowed_folders=allowed_folders())
    if model.sites.reads != ("input_ids",):
        raise ModelNotSupported(
            f"{model.info.name} reads {' and '.join(model.sites.reads)}, and these pages show "
            "texts; look at it in Python with attnviz.capture_inputs"
        )
    return model


def captured(request: Request) -> Capture:
    """The capture of a request. Texts that are too long are cut; `Capture.cut` says by how much.

    Raises:
        AttnvizError: as `attnviz.load` and `attnviz.capture`.
    """
    return _CAPTURES.get(
        request,
        lambda: _run(load_model(request.model), request, MAX_TOKENS, reading_bar()),
        lambda: st.spinner("Reading the text …"),
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def head_numbers(request: Request, kind: Kind) -> Mapping[str, Float[np.ndarray, "layer head"]]:
    """Every metric of every head that exists for this text: a click on a head asks for it again."""
    stack = captured(request)[kind]
    found = {name: metrics.per_head(name, stack) for name in metrics.names()}
    return {name: table for name, table in found.items() if not np.isnan(table).all()}


@st.cache_resource(max_entries=16, show_spinner=False)
def summary(request: Request) -> pd.DataFrame:
    """Every metric of every head of every kind, as a table to be read."""
    return summarize(captured(request))


@st.cache_resource(max_entries=256, show_spinner=False)
def proved(request: Request) -> tuple[Proof, int | None]:
    """How far the capture of a request is from the library's own eager attention.

    And on how many tokens that was found out, when the text is longer than `PROVED_TOKENS`: then
    the first of them were run by themselves. Otherwise it is the capture on the page that is
    compared, and nothing is run but the library.

    Raises:
        AttnvizError: as `captured`.
    """
    model = load_model(request.model)
    shown = captured(request)
    tokens = max(max(shown[kind].shape[2:]) for kind in shown)
    first = PROVED_TOKENS if tokens > PROVED_TOKENS else None
    if first is not None:
        shown = _run(model, request, first)
    with _PASSES:
        # The capture on the page may be older than the model that is in memory now.
        return verify(shown, model=model), first


def _run(
    model: Model,
    request: Request,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    text = model.prompt + request.text if request.text.strip() else ""
    with _PASSES:
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


@st.cache_resource(max_entries=16, show_spinner="Running the repeated sequences …")
def repeated(
    model_name: str, text: str | None, period: int, sequences: int, seed: int
) -> probes.Repetition:
    """The repetition experiment: on random tokens, or on a text when one is given.

    Raises:
        AttnvizError: as `attnviz.probes`.
    """
    model = load_model(model_name)
    if text is not None:
        _check_repeated(model, text)
    with _PASSES:
        if text is not None:
            return probes.repeat_text(model, text)
        return probes.repeat_random(model, period=period, sequences=sequences, seed=seed)


def _check_repeated(model: Model, text: str) -> None:
    encoded = encode(model, text, begin=False, cut=True, limit=REPEATED_TOKENS)
    tokens = len(encoded.ids) + encoded.cut
    # What the model itself has no room for, the experiment refuses.
    if encoded.cut and 2 * tokens < (model.info.max_tokens or 2 * tokens + 1):
        raise TextTooLong(
            f"this text has {tokens} tokens, and texts of up to {REPEATED_TOKENS} are repeated on "
            "this page; shorten it",
            tokens=tokens,
            limit=REPEATED_TOKENS,
        )


def default_request(model_name: str) -> Request:
    """What is shown before anybody has typed anything."""
    example = EXAMPLES[load_model(model_name).info.family][0]
    return Request(model_name, example.text, example.pair, example.target)

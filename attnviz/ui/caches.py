"""Models and captures, shared by all sessions of a server and bounded in number."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from attnviz import probes
from attnviz.captures import Capture, capture
from attnviz.models import Model, shipped
from attnviz.proof import load, verify
from attnviz.types import Proof
from attnviz.ui.examples import EXAMPLES

__all__ = [
    "MAX_TOKENS",
    "Request",
    "allowed_folders",
    "captured",
    "load_model",
    "proved",
    "repeated",
]

MAX_TOKENS = int(os.environ.get("ATTNVIZ_MAX_TOKENS", "512"))
"""Longest text a page shows. A map of 512 x 512 is more than any screen has pixels for."""


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
    return load(name)


@st.cache_resource(max_entries=2, show_spinner="Loading the model …")
def _load_other(name: str) -> Model:
    return load(name, allowed_folders=allowed_folders())


@st.cache_resource(show_spinner=False)
def _passes() -> threading.BoundedSemaphore:
    """As many forward passes at a time as there are processors; the rest of a class waits."""
    return threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) - 1))


@st.cache_resource(max_entries=24, show_spinner="Reading the text …")
def captured(request: Request) -> Capture:
    """The capture of a request. Texts that are too long are cut; `Capture.cut` says by how much.

    Raises:
        AttnvizError: as `attnviz.load` and `attnviz.capture`.
    """
    return _run(load_model(request.model), request)


@st.cache_resource(max_entries=256, show_spinner=False)
def proved(request: Request) -> Proof:
    """How far the capture of a request is from the library's own eager attention.

    Raises:
        AttnvizError: as `captured`.
    """
    # Run anew: the cached capture may be older than the model that is in memory now.
    model = load_model(request.model)
    capture = _run(model, request)
    with _passes():
        return verify(capture)


def _run(model: Model, request: Request) -> Capture:
    with _passes():
        return capture(
            model,
            model.prompt + request.text if request.text.strip() else "",
            pair=request.pair or None,
            target=request.target or None,
            begin=request.begin,
            cut=True,
            limit=MAX_TOKENS,
        )


@st.cache_resource(max_entries=16, show_spinner="Running the repeated sequences …")
def repeated(
    model_name: str, text: str | None, period: int, sequences: int, seed: int
) -> probes.Repetition:
    """The repetition experiment: on random tokens, or on a text when one is given.

    Raises:
        AttnvizError: as `attnviz.probes`.
    """
    model = load_model(model_name)
    with _passes():
        if text is not None:
            return probes.repeat_text(model, text)
        return probes.repeat_random(model, period=period, sequences=sequences, seed=seed)


def default_request(model_name: str) -> Request:
    """What is shown before anybody has typed anything."""
    example = EXAMPLES[load_model(model_name).info.family][0]
    return Request(model_name, example.text, example.pair, example.target)

"""App without a browser: Streamlit's own test runner, from `app.py`."""

from __future__ import annotations

import json
import re
import struct
import threading
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from attnviz.findings import Progress
from attnviz.ui.jobs import proofs
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.session import model_cache

ROOT = Path(__file__).parents[2]
OpenApp = Callable[..., AppTest]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true, and fail if it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def endless(stage: str, stopped: threading.Event) -> Callable[..., None]:
    """Return a long job that reports one stage until it is cancelled, and then sets `stopped`."""

    def job(*_: Any, progress: Callable[[Progress], None], **options: Any) -> None:
        try:
            for step in range(10_000):
                progress(Progress(stage, 0.25, 30.0 + step))
                time.sleep(0.01)
        finally:
            stopped.set()

    return job


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    """`open_app(page=..., model=..., layer=...)`: the app as a link with these would open it."""
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    for shelf in (
        model_cache._SHIPPED,
        model_cache._OTHERS,
        model_cache._CAPTURES,
        model_cache._REPEATED,
    ):
        shelf.clear()
    until(lambda: all(job.over for job in list(proofs._JOBS._jobs.values())))
    proofs._JOBS.clear()
    long_jobs().clear()

    def open_(page: str | None = None, **link: object) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        for name, value in link.items():
            app.query_params[name] = str(value)
        app.run()
        if page is not None:
            app.switch_page(page).run()
        return app

    return open_


def said(app: AppTest) -> str:
    """Return everything on the page that is words."""
    parts = [
        *app.markdown,
        *app.caption,
        *app.error,
        *app.warning,
        *app.info,
        *app.header,
        *app.subheader,
    ]
    return "\n".join([*(str(part.value) for part in parts), *shown_plain(app)])


def shown_plain(app: AppTest) -> list[str]:
    """Return the paragraphs in which nothing is interpreted, as they are read."""
    bodies = [one.proto.body for one in app.get("html")]
    return [unescape(re.sub("<[^>]*>", "", body)) for body in bodies if body.startswith("<p")]


def maps(app: AppTest, corner: str = "key", *, signed: bool = False) -> list[dict[str, object]]:
    """Return the header of every map of weights, with weights and scores if they came whole.

    Maps without scores have "rounded" instead: their numbers from two bytes each.

    `corner` is the beginning of what is written in the corner: "head" for maps of heads; `signed`
    maps are differences.
    """
    headers = []
    for one in app.get("bidi_component"):
        if one.proto.component_name == "attnviz.map":
            packed = one.proto.bytes
            (length,) = struct.unpack("<I", packed[:4])
            header = json.loads(packed[4 : 4 + length])
            if header["grid"] and header["grid"]["encoding"] == "f4f4":
                numbers = np.frombuffer(packed[4 + length :], "<f4")
                header["weights"], header["scores"] = numbers.reshape(2, *header["shape"])
            elif header["grid"] and header["grid"]["encoding"] in ("u2", "i2"):
                header["rounded"] = rounded_numbers(packed[4 + length :], header)
            if str(header["corner"]).startswith(corner) and header["signed"] == signed:
                headers.append(header)
    return headers


def rounded_numbers(body: bytes, header: dict[str, Any]) -> np.ndarray:
    """Return the numbers that a map sends as two bytes each, cells or bins; NaN where masked."""
    rows, columns = (len(header["grid"][name]) for name in ("rowLabels", "columnLabels"))
    codes = np.frombuffer(body, "<i2" if header["signed"] else "<u2", rows * columns)
    scale = header["grid"]["scale"]
    if header["signed"]:
        numbers = np.sign(codes) * (codes / 32767.0) ** 2 * scale
        return np.where(codes == -32768, np.nan, numbers).reshape(rows, columns)
    numbers = (codes / 65532.0) ** 2 * scale
    return np.where(codes == 65535, np.nan, numbers).reshape(rows, columns)


def clickable(app: AppTest) -> list[str]:
    """Keys of the charts that take clicks; each asks the browser for them from the start.

    Streamlit alone asks for them only after the first drawing, and may lose that again.
    """
    keys = [one.proto for one in app.get("plotly_chart") if one.proto.selection_mode]
    for one in keys:
        assert json.loads(one.spec)["layout"]["clickmode"] == "event+select"
    return [one.id.rsplit("-", 1)[-1] for one in keys]

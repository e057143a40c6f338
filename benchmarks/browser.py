"""App in a real Chromium, for benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("ATTNVIZ_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds; a busy machine is slow, and that is what is to be seen

# What is painted now, as the map itself says when it has drawn.
PAINTED = """() => {
    for (const one of document.querySelectorAll('.st-key-weights *')) {
        const zoom = one.shadowRoot?.querySelector('.map');
        if (zoom) return zoom.dataset.painted ?? null;
    }
    return null;
}"""
WATCH = f"""() => {{
    const painted = {PAINTED};
    const before = painted();
    window.watched = new Promise((resolve) => {{
        document.addEventListener('pointerdown', () => {{
            const start = performance.now();
            const look = () => {{
                const now = painted();
                if (now !== null && now !== before) {{
                    requestAnimationFrame(() => resolve(performance.now() - start));
                }} else requestAnimationFrame(look);
            }};
            look();
        }}, {{ once: true, capture: true }});
    }});
}}"""

AWAIT = f"""() => Promise.race([
    window.watched, new Promise((_, refuse) => setTimeout(refuse, {PATIENCE}))
])"""


@dataclass
class Received:
    """Sizes of the messages the browser got, since they were last cleared."""

    frames: list[int] = field(default_factory=list)

    def frame(self, event: dict[str, dict[str, object]]) -> None:
        text = str(event["response"]["payloadData"])
        binary = event["response"]["opcode"] == 2
        self.frames.append(len(text) * 3 // 4 if binary else len(text))


@dataclass(frozen=True)
class Server:
    """Running app."""

    address: str
    pid: int


@contextmanager
def served(folders: Path, **settings: str) -> Iterator[Server]:
    """Serve the app on a free port, and yield it; the variables are for its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = {"ATTNVIZ_MODEL_FOLDERS": str(folders), "HF_HUB_OFFLINE": "1"}
    # As for a user, whose second start finds the modules compiled.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "attnviz", "app", "--headless"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--address", "127.0.0.1"],
        cwd=ROOT,
        env={**inherited, **here, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(f"http://127.0.0.1:{port}", server.pid)
    finally:
        server.terminate()
        server.wait(30)


def wait_for(server: Server) -> None:
    """Wait until the server answers."""
    for _ in range(1500):
        try:
            urllib.request.urlopen(f"{server.address}/_stcore/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the app did not start")


def wait_until_painted(page: Page) -> int:
    """Wait until a head's map is there; return how often the page was reloaded after an error."""
    for again in range(5):
        page.wait_for_function(
            f"() => ({PAINTED})() !== null || document.querySelector('.stException')"
        )
        if page.locator(".stException").count() == 0:
            return again
        page.reload()
    raise SystemExit("the app shows an error")


def wait_until_idle(page: Page) -> None:
    """Wait until the server has had nothing to do for a moment."""
    for _ in range(2):
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]", state="attached")
        page.wait_for_timeout(400)


def open_page(browser: Browser, received: Received) -> Page:
    """Open a page whose messages are counted."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", received.frame)
    return page


def click_head(
    page: Page, received: Received, layer: int, head: int, shape: tuple[int, int]
) -> tuple[float, int, int]:
    """Click a cell of the map of heads; milliseconds, the largest message, and all bytes."""
    plot = page.locator(".st-key-head_map .map .surface")
    plot.scroll_into_view_if_needed()
    wait_until_idle(page)
    box = plot.bounding_box()
    assert box is not None
    page.evaluate(WATCH)
    received.frames.clear()
    page.mouse.click(
        box["x"] + box["width"] * (head + 0.5) / shape[1],
        box["y"] + box["height"] * (layer + 0.5) / shape[0],
    )
    took = float(page.evaluate(AWAIT))
    wait_until_idle(page)
    return took, max(received.frames), sum(received.frames)

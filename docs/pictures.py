"""Take the pictures of the README anew: `python docs/pictures.py http://localhost:8501`.

Serve the app first. The heads are chosen by what they do, so that the pictures still show it when
the classroom models have been trained again. Each picture is 1280 x 900 pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import attnviz
from attnviz.ui.session.example_texts import EXAMPLES

IMAGES = Path(__file__).parent / "images"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]


def induction_link() -> str:
    """Return the link to the first example of the GPT, at its strongest induction head."""
    capture = attnviz.capture(attnviz.load("gpt-classroom"), EXAMPLES["decoder"][0].text)
    scores = attnviz.metrics.per_head("induction", capture["self"])
    layer, head = np.unravel_index(scores.argmax(), scores.shape)
    return f"?model=gpt-classroom&metric=induction&layer={layer}&head={head}"


def translation_link() -> str:
    """Return the link to the first example of the T5, at its strongest alignment head."""
    heads = attnviz.load("t5-classroom").info.known_heads
    best = next(one.head for one in heads if one.role == "alignment")
    return f"?model=t5-classroom&kind=cross&metric=entropy&layer={best.layer}&head={best.head}"


def take(page: Page, address: str, path: Path) -> None:
    """Open a page, wait until it is painted, and keep what is seen without scrolling."""
    page.goto(address)
    page.wait_for_selector(".js-plotly-plot .hoverlayer", state="attached")
    for _ in range(3):
        page.wait_for_timeout(1000)
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]", state="attached")
    page.screenshot(path=path)
    # 256 colours, chosen to be near every pixel's: a third of the bytes, and no eye sees it.
    Image.open(path).convert("RGB").quantize(256, kmeans=8).save(path, optimize=True)


def main(server: str) -> None:
    """Take both pictures, one in each theme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, link in (("light", induction_link()), ("dark", translation_link())):
            context = browser.new_context(
                viewport={"width": 1280, "height": 900}, color_scheme=name
            )
            context.set_default_timeout(90_000)
            take(context.new_page(), f"{server}/{link}", IMAGES / f"explore-{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))

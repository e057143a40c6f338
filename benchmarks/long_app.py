"""Waiting times of a user with a very long text, and memory of the server meanwhile.

    python -m benchmarks.long_app                    # 16,000 tokens
    python -m benchmarks.long_app --tokens 128000 --layers 2 --heads 3

The Llama of `benchmarks.long_text` is saved to a temporary folder, the app is started with
ATTNVIZ_MAX_TOKENS raised, and a Chromium does what a person would do. Memory is the server's
highest so far; the browser is another process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.browser import (
    CHROMIUM,
    FLAGS,
    Received,
    Server,
    click_head,
    open_page,
    served,
    wait_for,
    wait_until_idle,
    wait_until_painted,
)
from benchmarks.long_text import WORDS, config, draw_words
from benchmarks.memory import HIGHEST, NOW, megabytes
from benchmarks.words import FIRST, save_tokenizer

PATIENCE = 30 * 60_000  # milliseconds; longer than a user waits
CLICKED = ((3, 4), (7, 2), (11, 9), (0, 5), (5, 5), (9, 1), (2, 10))


@dataclass
class Watch:
    """Prints what each step took."""

    server: Server
    received: Received

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, and print its line of the table."""
        self.received.frames.clear()
        start = time.perf_counter()
        yield
        self.line(name, f"{time.perf_counter() - start:.2f} s")

    def line(self, name: str, took: str) -> None:
        """Print a line of the table."""
        largest = max(self.received.frames, default=0) / 1000
        now, highest = (megabytes(field, self.server.pid) for field in (NOW, HIGHEST))
        print(f"| {name} | {took} | {largest:,.0f} | {now:,.0f} | {highest:,.0f} |", flush=True)


def save_model(folder: Path, sizes: LlamaConfig) -> None:
    """Write the model and a tokenizer for its words."""
    save_tokenizer(folder, WORDS - FIRST, sizes.max_position_embeddings)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(sizes).save_pretrained(folder)


def explore(page: Page, watch: Watch, sizes: LlamaConfig, pictures: Path | None) -> None:
    """Use the app with a long text, step by step."""
    tokens, layers = sizes.max_position_embeddings, sizes.num_hidden_layers
    heads = sizes.num_attention_heads

    def look(name: str) -> None:
        if pictures is not None:
            page.screenshot(path=pictures / f"{name}.png", full_page=True)

    area = page.get_by_label("Text", exact=True)
    area.fill(" ".join(f"word{number - FIRST}" for number in draw_words(tokens - 1)))
    where = page.locator(".st-key-weights .map .where").first
    with watch.step("from typing to the first head's map"):
        area.press("Control+Enter")
        page.wait_for_timeout(8000)
        look("reading")
        page.wait_for_function(
            "last => [...document.querySelectorAll('.st-key-weights *')].some(one => "
            "one.shadowRoot?.querySelector('.where')?.textContent.includes(last))",
            arg=f"{tokens - 1:,}",
            timeout=PATIENCE,
        )
    with watch.step("the rest of the page, and the proof"):
        wait_until_idle(page)
    look("map")
    clicked = dict.fromkeys((layer % layers, head % heads) for layer, head in CLICKED)
    clicks = [click_head(page, watch.received, *place, (layers, heads)) for place in clicked]
    median = statistics.median(one[0] for one in clicks)
    watch.line(f"a click on a head, median of {len(clicks)}", f"{median:,.0f} ms")
    watch.line("the slowest of them", f"{max(one[0] for one in clicks):,.0f} ms")
    for _ in range(12):
        if "single cells" in where.inner_text():
            break
        with watch.step("zoom in: " + where.inner_text()):
            page.locator(".st-key-weights .map [data-zoom=in]").first.click()
            page.wait_for_timeout(300)
            wait_until_idle(page)
    look("cells")
    with watch.step("a token in the middle, by its position"):
        field = page.get_by_label("Token at position", exact=False)
        field.fill(str(tokens // 2))
        field.press("Enter")
        page.get_by_text("looks at").first.wait_for()
        wait_until_idle(page)
    look("token")
    with watch.step("row by row"):
        page.get_by_text("Row by row").click()
        page.wait_for_timeout(300)
        wait_until_idle(page)
    look("rows")
    if page.locator(".stException").count():
        raise SystemExit("the app shows an error")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "llama-random"
        sizes = config(options.tokens, options.layers, options.heads)
        save_model(folder, sizes)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with served(Path(temporary), ATTNVIZ_MAX_TOKENS=str(options.tokens)) as server:
            wait_for(server)
            received = Received()
            page = open_page(browser, received)
            page.set_default_timeout(PATIENCE)
            print("| step | took | largest message, kB | server now, MB | highest, MB |")
            print("|---|---|---|---|---|")
            watch = Watch(server, received)
            with watch.step("the model and a short text"):
                page.goto(f"{server.address}/?model={folder}")
                wait_until_painted(page)
                wait_until_idle(page)
            explore(page, watch, sizes, options.pictures)


if __name__ == "__main__":
    main()

"""Time from a click on a head to its painted map, in a real Chromium.

    python -m benchmarks.app_speed                          # 128 and 1,024 tokens, 15 clicks each
    python -m benchmarks.app_speed --tokens 1024 --clicks 5

A model of GPT-2 small's shape (12 x 12 heads of 64) with random weights is saved to a temporary
folder, the app is started as `python -m attnviz app` on a free port, and Chromium clicks cells of
the map of heads. Every figure is what the browser itself sees:

    painted       from the press of the mouse button to the frame after the new map was drawn;
                  of the quickest quarter the mean: on a busy machine the rest measures its load
    largest       the largest message of a click: the map's, or the token strip's
    all           everything the server sent for the click
    import        `import attnviz` in a fresh interpreter
    first screen  from the start of `python -m attnviz app` to the first head's painted map; the
                  quickest of three, after one start that compiles the modules
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import (
    CHROMIUM,
    FLAGS,
    ROOT,
    Received,
    click_head,
    open_page,
    served,
    wait_for,
    wait_until_idle,
    wait_until_painted,
)

LAYERS = HEADS = 12
WIDTH = 768
NAMES = 100  # words of the vocabulary


def save_model(folder: Path, tokens: int) -> None:
    """Return a random GPT-2 small with a hundred words, whose attention is far from uniform."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from benchmarks.words import BEGIN, FIRST, save_tokenizer

    save_tokenizer(folder, NAMES, tokens)
    torch.manual_seed(0)
    sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": tokens}
    network = GPT2LMHeadModel(
        GPT2Config(vocab_size=NAMES + FIRST, bos_token_id=BEGIN, eos_token_id=BEGIN, **sizes)
    )
    with torch.no_grad():
        for block in network.transformer.h:
            block.attn.c_attn.weight.mul_(4)
    network.save_pretrained(folder)


def clicks(page: Page, received: Received, tokens: int, count: int) -> list[tuple[float, int, int]]:
    """Click heads; per click the milliseconds, the largest message, and all bytes."""
    area = page.get_by_label("Text", exact=True)
    area.fill(" ".join(f"word{random.randrange(NAMES)}" for _ in range(tokens - 1)))
    area.press("Control+Enter")
    page.wait_for_timeout(1500)
    wait_until_idle(page)
    wait_until_painted(page)
    rows = []
    for number in range(count + 2):
        layer, head = (number * 5 + 1) % LAYERS, (number * 7 + 3) % HEADS
        rows.append(click_head(page, received, layer, head, (LAYERS, HEADS)))
    return rows[2:]  # the first ones warm the caches of server and browser


def best_quarter(times: Sequence[float]) -> float:
    """Return the mean of the quickest quarter, at least one."""
    return statistics.mean(sorted(times)[: max(len(times) // 4, 1)])


def time_import() -> float:
    """Return the seconds of `import attnviz` in a fresh interpreter, median of five."""
    code = (
        "import time; start = time.perf_counter(); import attnviz, sys; "
        "assert 'torch' not in sys.modules; print(time.perf_counter() - start)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        for _ in range(5)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def time_first_screen(browser: Browser, folders: Path) -> tuple[float, int]:
    """Return the seconds from the app's start to the first painted map, and the reloads."""
    start = time.perf_counter()
    with served(folders) as server:
        wait_for(server)
        page = open_page(browser, Received())
        page.goto(server.address)
        reloads = wait_until_painted(page)
        took = time.perf_counter() - start
        page.close()
    return took, reloads


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="How quick the app feels, in a real Chromium.")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--clicks", type=int, default=15)
    options = parser.parse_args()
    random.seed(0)
    print(f"import attnviz: {time_import():.3f} s, without torch", flush=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "gpt2-random"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        starts = [time_first_screen(browser, Path(temporary)) for _ in range(4)]
        took, reloads = min(starts[1:])
        note = f" ({reloads} reloads after an error)" if reloads else ""
        print(f"first screen: {took:.1f} s{note}", flush=True)
        save_model(folder, max(options.tokens))
        print(
            f"\n{'tokens':>7} {'best quarter':>13} {'median':>9} {'slowest':>9} "
            f"{'largest':>9} {'all':>9}"
        )
        with served(Path(temporary)) as server:
            wait_for(server)
            received = Received()
            page = open_page(browser, received)
            page.goto(f"{server.address}/?model={folder}")
            wait_until_painted(page)
            for tokens in options.tokens:
                rows = clicks(page, received, tokens, options.clicks)
                times, largest, total = zip(*rows, strict=True)
                print(
                    f"{tokens:>7,} {best_quarter(times):>10,.0f} ms "
                    f"{statistics.median(times):>6,.0f} ms {max(times):>6,.0f} ms "
                    f"{max(largest) / 1000:>6,.0f} kB {max(total) / 1000:>6,.0f} kB",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Three thousand tokens, from typing to single cells: what a person with a long text does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from transformers import LlamaConfig, LlamaForCausalLM

from attnviz import capture, load
from attnviz.ui.components.token_strip import TOKEN_LIMIT
from tests.browser.conftest import app
from tests.browser.steps import wait_until_idle
from tests.served import served
from tests.vocabularies import vocabulary
from tests.zoo import VOCABULARIES, shake

pytestmark = pytest.mark.slow

WORDS = ("the", "cat", "sat", "on", "a", "and", "man")
TOKENS = 3000
LARGEST = 300_000  # bytes of a message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random Llama with grouped keys and room for 4,096 tokens."""
    folder = tmp_path_factory.mktemp("models") / "long"
    tokenizer = vocabulary(VOCABULARIES["decoder"])
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            **sizes,
            intermediate_size=96,
            num_hidden_layers=2,
            max_position_embeddings=4096,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    shake(network)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(
    chromium: object, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    os.environ["ATTNVIZ_MODEL_FOLDERS"] = str(folder.parent)
    try:
        with served(app, tmp_path_factory.mktemp("server") / "log") as server:
            yield server
    finally:
        del os.environ["ATTNVIZ_MODEL_FOLDERS"]


def words(count: int) -> str:
    """Return a text of that many words, which is no repetition of a few."""
    return " ".join(WORDS[at * at % len(WORDS)] for at in range(count))


def received(page: Page) -> list[int]:
    """Return the list that gets the size of every later message to the page."""
    sizes: list[int] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))),
    )
    return sizes


def test_the_longest_strip_comes_in_small_messages(page: Page, address: str, folder: Path) -> None:
    sizes = received(page)
    page.goto(f"{address}/?model={folder}&layer=1&head=3")
    page.locator(".st-key-weights .map").wait_for()
    wait_until_idle(page)
    area = page.get_by_label("Text", exact=True)
    area.fill(words(TOKEN_LIMIT - 2))  # and a begin and an end token
    area.press("Control+Enter")
    chips = page.locator(".strip .chip")
    expect(chips).to_have_count(TOKEN_LIMIT)
    chips.nth(TOKEN_LIMIT - 1).hover()
    expect(page.locator(".strip .says")).to_contain_text(f"({TOKEN_LIMIT - 1}) looks at")
    assert 2 * TOKEN_LIMIT**2 / 2 < max(sizes) < LARGEST


def test_three_thousand_tokens_to_single_cells(page: Page, address: str, folder: Path) -> None:
    sizes = received(page)
    page.goto(f"{address}/?model={folder}&layer=1&head=3")
    # For a moment of a rerun Streamlit keeps an earlier copy of an element, hidden.
    zoom = page.locator(".st-key-weights .map").locator("visible=true")
    zoom.wait_for()
    wait_until_idle(page)
    text = words(TOKENS)
    area = page.get_by_label("Text", exact=True)
    area.fill(text)
    area.press("Control+Enter")
    where = zoom.locator(".where")
    expect(where).to_have_text(re.compile(r"keys 0–[23],\d+ · 1\d × 1\d cells per bin"))
    wait_until_idle(page)

    expect(zoom).to_have_count(1)
    for _ in range(7):
        zoom.locator("[data-zoom=in]").click()
        page.wait_for_timeout(200)
    expect(where).to_have_text(re.compile("single cells"))
    numbers = [int(one.replace(",", "")) for one in re.findall(r"[\d,]*\d", where.inner_text())]
    first, last, key_first, key_last = numbers[:4]
    stage = zoom.locator(".stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    left, top, across, down = map(float, (zoom.get_attribute("data-plot") or "").split(","))
    row, column = last - 2, key_first + 2
    at = (
        box["x"] + left + across * (column + 0.5 - key_first) / (key_last - key_first + 1),
        box["y"] + top + down * (row + 0.5 - first) / (last - first + 1),
    )
    page.mouse.move(*at)
    tip = zoom.locator(".says")
    expect(tip).to_contain_text(f"({row}) →")
    stack = capture(load(str(folder), allowed_folders=[folder.parent]), text, predict=False)["self"]
    weight = stack.weights(1, 3, slice(row, row + 1), slice(column, column + 1))[0, 0]
    shown = float(re.search(r"weight ([\d.e−]+)", tip.inner_text())[1].replace("−", "-"))  # type: ignore[index]
    assert shown == pytest.approx(weight, rel=0.05, abs=5e-5)

    page.mouse.click(*at)  # the row's token is followed by the whole page
    expect(page.get_by_label("Token at position", exact=False)).to_have_value(str(row))
    expect(page.get_by_text(re.compile("looks at")).first).to_be_visible()
    wait_until_idle(page)
    page.get_by_text("Row by row").click()
    expect(page.get_by_text("around the chosen one")).to_be_visible()
    wait_until_idle(page)
    assert page.locator(".stException").count() == 0
    assert max(sizes) < LARGEST

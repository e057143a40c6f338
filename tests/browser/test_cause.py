"""Pages *Edit* and *Generate* in a browser: edits travel in the link, a generation is stopped."""

from __future__ import annotations

import re
from contextlib import suppress

from playwright.sync_api import BrowserContext, Locator, Page, TimeoutError, expect

import attnviz
from attnviz import Edit
from attnviz.experiments.edits.edit_effects import effect_of
from attnviz.experiments.generation.token_by_token import generate_ids, prompt_ids
from attnviz.models import encode
from attnviz.types import Head
from attnviz.written_numbers import percent
from tests.browser.steps import Server, click_in_map, open_app, type_text, wait_until_idle
from tests.browser_tabs import Watch

TEXT = (
    "The little fox ran into the dark forest. The old owl saw that the little fox ran into the dark"
)
OFF = Edit("zero", Head("self", 0, 7))


def button(page: Page, name: str | re.Pattern[str]) -> Locator:
    """Return a button; one with a tooltip is on the page twice."""
    return page.get_by_role("button", name=name).locator("visible=true").first


def open_edit(page: Page, server: Server, link: str) -> None:
    page.goto(f"{server[0]}/edit?{link}")
    page.locator(".st-key-edit_candidates .js-plotly-plot").wait_for()
    wait_until_idle(page)


def states(page: Page) -> list[str]:
    """Return the names of the bars of the candidates."""
    names: list[str] = page.locator(".st-key-edit_candidates .js-plotly-plot").evaluate(
        "plot => plot.data.map(one => one.name)"
    )
    return names


def sentence(edits: list[Edit]) -> str:
    """Return the beginning of the sentence about the prediction after the last token."""
    model = attnviz.load("gpt-classroom")
    effect = effect_of(model, encode(model, TEXT), edits)
    first = max(effect.candidates, key=lambda one: one.before)
    return f"“forest” goes from {percent(first.before)} to {percent(first.after)}"


def test_an_edit_is_made_undone_and_opened_from_its_link(
    page: Page, visitor: BrowserContext, server: Server
) -> None:
    open_edit(page, server, "model=gpt-classroom")
    assert states(page) == ["before"]
    click_in_map(page, "effect_map", 0, 7, rows=4, columns=8)
    expect(page).to_have_url(re.compile("layer=0&head=7"))
    wait_until_idle(page)
    button(page, "Add this edit").click()
    expect(page).to_have_url(re.compile("edits=zero_self_0_7$"))
    wait_until_idle(page)
    assert states(page) == ["before", "after"]
    expect(page.get_by_text(sentence([OFF])).first).to_be_visible()
    page.get_by_text("Hide", exact=True).first.click()
    page.get_by_text("All heads", exact=True).wait_for()
    page.get_by_text("All heads", exact=True).click()
    wait_until_idle(page)
    button(page, "Add this edit").click()
    expect(page).to_have_url(re.compile("edits=zero_self_0_7~hide_self_all_24$"))
    expect(button(page, "is hidden from all heads")).to_be_visible()
    wait_until_idle(page)
    button(page, "Undo").click()
    expect(page).to_have_url(re.compile("edits=zero_self_0_7$"))
    wait_until_idle(page)
    expect(page.get_by_text(sentence([OFF])).first).to_be_visible()
    expect(page.locator(".st-key-after_map .map[data-painted]")).to_be_visible()
    assert "fox" not in page.url

    cold = visitor.new_page()
    watch = Watch(cold)
    cold.goto(page.url)
    expect(cold.get_by_text(sentence([OFF])).first).to_be_visible()
    expect(button(cold, "L0·H7: off")).to_be_visible()
    wait_until_idle(cold)
    assert states(cold) == ["before", "after"]
    watch.check()


def test_explore_leads_to_the_page_and_edits_stay_when_it_is_left(
    page: Page, server: Server
) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=0&head=7")
    button(page, "What if L0·H7 were off?").click()
    expect(page.get_by_role("heading", name="Edit attention")).to_be_visible()
    expect(page).to_have_url(re.compile("edits=zero_self_0_7"))
    expect(page.get_by_text(sentence([OFF])).first).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("link", name="Generate", exact=True).first.click()
    expect(button(page, "One token")).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("link", name="Edit", exact=True).first.click()
    expect(button(page, "L0·H7: off")).to_be_visible()
    expect(page).to_have_url(re.compile("edits=zero_self_0_7"))
    wait_until_idle(page)


def test_a_text_with_markup_is_inert_in_the_list(page: Page, server: Server) -> None:
    open_edit(page, server, "model=gpt-classroom&edits=hide_self_all_2~mask_<img src=x>")
    type_text(page, "<img src=x onerror=alert(1)> **bold** :smile: [link](http://x.y)")
    expect(button(page, "is hidden from all heads")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".stException").count() == 0


def test_tokens_are_generated_and_one_is_taken_back(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/generate?model=gpt-classroom")
    button(page, "One token").wait_for()
    wait_until_idle(page)
    button(page, "Write 20 tokens").click()
    expect(page.get_by_text("20 new tokens after 25 of the prompt")).to_be_visible()
    wait_until_idle(page)
    model = attnviz.load("gpt-classroom")
    steps = list(generate_ids(model, prompt_ids(model, TEXT), max_new_tokens=20))
    text = "".join(step.token.label for step in steps).replace("·", " ")
    assert text in page.locator(".attnviz-plain b").first.inner_text().replace("\n", " ")
    expect(page.locator(".st-key-growing_map .map[data-painted]")).to_be_visible()
    button(page, "Take one back").click()
    expect(page.get_by_text("19 new tokens after 25 of the prompt")).to_be_visible()
    wait_until_idle(page)


def test_a_generation_is_stopped_and_keeps_its_tokens(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/generate?model=llama-classroom")
    button(page, "One token").wait_for()
    wait_until_idle(page)
    count = page.get_by_label("New tokens (at most 200)", exact=True)
    count.fill("200")
    count.press("Enter")
    expect(button(page, "Write 200 tokens")).to_be_visible()
    wait_until_idle(page)
    said = page.get_by_text(re.compile("^[0-9]+ new tokens after"))
    stop = page.locator(".st-key-stop_writing button").locator("visible=true").first
    kept = 200
    for _ in range(8):  # on a busy machine the last token may come before the click
        button(page, "Write 200 tokens").click()
        expect(said).to_be_visible()
        with suppress(TimeoutError):  # the button has gone
            stop.click(timeout=3000)
        expect(button(page, "One token")).to_be_enabled()
        wait_until_idle(page)
        kept = int(said.inner_text().split()[0])
        if kept < 200:
            break
        button(page, "Start again").click()
        expect(said).to_have_count(0)
        wait_until_idle(page)
    assert 0 < kept < 200
    expect(stop).to_have_count(0)
    button(page, "One token").click()
    expect(page.get_by_text(f"{kept + 1} new tokens after")).to_be_visible()
    wait_until_idle(page)

"""Steps of a user in the app, for every test with a page."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, Page, TimeoutError, expect

from attnviz.types import Head

Server = tuple[str, Path]
"""A server's address, and the file with everything it logs."""

TIMES_OPENED = 8
"""How often a list is opened that shuts as its page moves."""

# A skeleton stands where a widget will be: Streamlit loads the code of each kind of widget when a
# page first needs it, which a run that has long finished does not wait for.
QUIET = """() => document.querySelector(".stApp")?.dataset.testScriptState === "notRunning"
  && !document.querySelector("[data-testid=stSkeleton], [data-testid=stAppSkeleton]")"""


def wait_until_idle(page: Page) -> None:
    """Streamlit has finished the run it is in, and everything of it is on the page."""
    page.wait_for_function(QUIET)
    page.wait_for_timeout(300)
    page.wait_for_function(QUIET)


def open_app(page: Page, server: Server, link: str = "") -> None:
    page.goto(f"{server[0]}/{link}")
    page.wait_for_selector(".js-plotly-plot .hoverlayer", state="attached")
    wait_until_idle(page)


def type_text(page: Page, text: str) -> None:
    area = page.get_by_label("Text", exact=True)
    area.fill(text)
    area.press("Control+Enter")
    wait_until_idle(page)


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a list, which is on the screen before: a list shuts when its page scrolls.

    The event of a scroll arrives a frame after it, and would shut a list opened in between; so does
    what grows or shrinks above it. A list that has shut is opened again.
    """
    wait_until_idle(page)
    box = page.get_by_role("combobox", name=label)
    box.scroll_into_view_if_needed()
    wanted = page.get_by_role("option", name=option)
    for _ in range(TIMES_OPENED):
        wait_until_idle(page)
        box.click()
        with suppress(TimeoutError):
            wanted.click(timeout=5000)
            break
    else:
        raise AssertionError(f"the list {label!r} does not stay open")
    wait_until_idle(page)


def start_and_cancel(page: Page, start: Locator, stage: str) -> None:
    """Press the button of a job, cancel the job in a stage of it, and wait until it is gone."""
    start.click()
    expect(page.get_by_text(stage).first).to_be_visible()
    page.get_by_role("button", name="Cancel").locator("visible=true").first.click()
    expect(start).to_be_visible()
    wait_until_idle(page)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def click_head(page: Page, plot: int, head: Head, layers: int, heads: int) -> None:
    """Click a head's cell in the plot's map as a person does: point at it, read it, press."""
    plotted = page.locator(".js-plotly-plot").nth(plot)
    label = plotted.locator(".hoverlayer .hovertext")
    plotted.locator(".hoverlayer").wait_for(state="attached")
    plotted.scroll_into_view_if_needed()
    area = plotted.locator(".cartesianlayer .plot rect, .bglayer rect, .nsewdrag").last
    for _ in range(20):  # what is above it may still be growing, and move it away
        box = area.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 1, box["y"] + box["height"] + 30)
        page.mouse.move(
            box["x"] + box["width"] * (head.head + 0.5) / heads,
            box["y"] + box["height"] * (head.layer + 0.5) / layers,
        )
        page.wait_for_timeout(300)
        if box == area.bounding_box() and head.label in "".join(label.all_text_contents()):
            break
    else:
        raise AssertionError(f"no label of {head.label} appears: {label.all_text_contents()}")
    page.mouse.down()
    page.mouse.up()


def click_in_map(page: Page, key: str, row: int, column: int, rows: int, columns: int) -> None:
    """Click one cell of a map of the whole model or text."""
    surface = page.locator(f".st-key-{key} .map[data-painted] .surface")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    assert box is not None
    surface.click(
        position={
            "x": box["width"] * (column + 0.5) / columns,
            "y": box["height"] * (row + 0.5) / rows,
        }
    )


def place(page: Page, query: int, key: int, queries: int, keys: int) -> tuple[float, float]:
    """Return the middle of a cell of the chosen head's map, in pixels of the page."""
    stage = page.locator(".st-key-weights .map .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    drawn = (
        page.locator(".st-key-weights .map").locator("visible=true").get_attribute("data-plot")
        or ""
    )
    left, top, across, down = map(float, drawn.split(","))
    return (
        box["x"] + left + across * (key + 0.5) / keys,
        box["y"] + top + down * (query + 0.5) / queries,
    )

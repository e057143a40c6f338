"""Pages as a slow machine behind a slow line shows them, to find tests that depend on luck.

`ATTNVIZ_SLOW_PAGES=1 .venv/bin/python -m pytest -n 0 -m browser` runs every test with a page so.
What a test reads off a page at once, where it ought to wait for it, fails there every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SLOWER = 4  # times: the page's processor
LATENCY = 700  # milliseconds: each answer of a server, a script's code among them


def slow_down(browser: Browser) -> None:
    """Slow down every page that is opened in this browser from now on."""
    new_context = browser.new_context

    def slow_context(**options: Any) -> BrowserContext:
        context = new_context(**options)
        context.on("page", _slow_page)
        return context

    browser.new_context = slow_context  # type: ignore[method-assign, assignment]


def _slow_page(page: Page) -> None:
    tools = page.context.new_cdp_session(page)
    tools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    tools.send("Network.enable")
    line = {"latency": LATENCY, "downloadThroughput": -1, "uploadThroughput": -1}
    tools.send("Network.emulateNetworkConditions", {"offline": False, **line})

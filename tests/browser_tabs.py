"""Pages of one browser tab, used by one test after another: each finds it as a new visitor would.

A tab that stays compiles the app's JavaScript once; in a new one every test waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["Tab", "Watch"]

EMPTY_STORAGE = "() => { localStorage.clear(); sessionStorage.clear(); }"


class Tab:
    """Tab of a browser that many tests use, one at a time.

    Args:
        browser: a running Chromium.
        options: those of a context that a page cannot change later, such as `has_touch`.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        self._browser, self._options = browser, options
        self._page: Page | None = None

    def open(
        self, width: int = 1280, height: int = 1000, scheme: Literal["light", "dark"] = "light"
    ) -> Page:
        """Return the empty page: nothing stored, no cookie, the pointer in the corner."""
        if self._page is None or self._page.is_closed():
            context = self._browser.new_context(**self._options)
            context.set_default_timeout(60_000)
            self._page = context.new_page()
        page = self._page
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme, reduced_motion="no-preference")
        page.mouse.move(0, 0)
        return page

    def clear(self) -> None:
        """Leave the page and forget what it stored; a later `open` finds nothing of it."""
        page = self._page
        if page is None or page.is_closed():
            return
        if page.url.startswith("http"):
            page.evaluate(EMPTY_STORAGE)
        page.goto("about:blank")
        page.context.clear_cookies()

    def close(self) -> None:
        """Close the tab with its context."""
        if self._page is not None:
            self._page.context.close()


class Watch:
    """Errors, dialogs and foreign requests of a page."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.dialogs: list[str] = []
        self._page = page
        page.on("pageerror", self._error)
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _error(self, error: object) -> None:
        self.errors.append(str(error))

    def _dialog(self, dialog: object) -> None:
        self.dialogs.append(str(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    def _request(self, request: object) -> None:
        url: str = request.url  # type: ignore[attr-defined]
        if not url.startswith(("http://127.0.0.1", "data:", "blob:", "ws://127.0.0.1")):
            self.strangers.append(url)

    def check(self) -> None:
        """Check that no error, no dialog and no foreign request has come."""
        assert not self.errors
        assert not self.dialogs
        assert not self.strangers

    def end(self) -> None:
        """Watch the page no longer."""
        self._page.remove_listener("pageerror", self._error)
        self._page.remove_listener("dialog", self._dialog)
        self._page.remove_listener("request", self._request)

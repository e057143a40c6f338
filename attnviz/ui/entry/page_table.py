"""Pages of the app: title, icon and contents of each, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from attnviz.ui.compare.compare_page import compare
from attnviz.ui.components.skip_links import skip_links
from attnviz.ui.diagnose.diagnose_page import diagnose_page
from attnviz.ui.diagnose.two_models_page import two_models_page
from attnviz.ui.edit.edit_page import edit_page
from attnviz.ui.explore.explore_page import explore, read
from attnviz.ui.explore.induction_page import induction
from attnviz.ui.explore.lines_page import lines
from attnviz.ui.explore.proof_badge import proof_badge
from attnviz.ui.generate.generate_page import generate_page
from attnviz.ui.laboratory.cache_page import cache_page
from attnviz.ui.laboratory.laboratory_page import laboratory
from attnviz.ui.learn.lessons_page import lessons_page
from attnviz.ui.learn.numbers_page import numbers_page
from attnviz.ui.patch.patch_page import patch_page
from attnviz.ui.server.status_page import status_page
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

__all__ = ["PAGES", "AppPage", "show_page"]


@dataclass(frozen=True)
class AppPage:
    """Page of the app.

    Attributes:
        file: the page's own file below `pages/` of a checkout; its stem is the page's address.
        title: in the navigation.
        icon: in the navigation, as Streamlit names it.
        draw: draws the contents of the page.
        hidden: the page is not in the navigation, but has an address.
    """

    file: str
    title: str
    icon: str | None
    draw: Callable[[], None]
    hidden: bool = False

    @property
    def name(self) -> str:
        """Return the last part of the page's address."""
        return PurePosixPath(self.file).stem


def _explore() -> None:
    request = state.request()
    skip_links({"weights": "Skip to the map of the head", "head_map": "Skip to the map of heads"})
    read(request)
    explore(request)
    proof_badge(request)


def _compare() -> None:
    skip_links({"a_weights": "Skip to the first map", "b_weights": "Skip to the second map"})
    compare(state.request())
    proof_badge(state.request())


def _lines() -> None:
    request = state.request()
    read(request)
    lines(request)
    proof_badge(request)


PAGES = (
    AppPage("explore/heads.py", "Explore", ":material/grid_on:", _explore),
    AppPage("compare/pair.py", "Compare", ":material/compare:", _compare),
    AppPage("explore/lines.py", "Lines", ":material/share:", _lines),
    AppPage(
        "explore/induction.py",
        "Induction",
        ":material/repeat:",
        lambda: induction(state.request()),
    ),
    AppPage(
        "cause/generate.py",
        "Generate",
        ":material/edit_note:",
        lambda: generate_page(state.request()),
    ),
    AppPage(
        "cause/edit.py",
        "Edit",
        ":material/tune:",
        lambda: edit_page(state.request()),
    ),
    AppPage(
        "cause/patch.py",
        "Patch",
        ":material/healing:",
        lambda: patch_page(state.request().model),
    ),
    AppPage(
        "diagnose/diagnosis.py",
        "Diagnose",
        ":material/stethoscope:",
        lambda: diagnose_page(state.request().model),
    ),
    AppPage(
        "diagnose/two_models.py",
        "Two models",
        ":material/difference:",
        lambda: two_models_page(state.request().model),
    ),
    AppPage("learn/lessons.py", "Learn", ":material/school:", lessons_page),
    AppPage("learn/numbers.py", "Numbers", ":material/functions:", numbers_page),
    AppPage(
        "learn/laboratory.py",
        "Lab",
        ":material/science:",
        lambda: laboratory(state.request()),
    ),
    # reached from Lab and Generate: the navigation has no room for another page at 1280 pixels
    AppPage(
        "learn/cache.py",
        "Cache",
        ":material/memory:",
        lambda: cache_page(state.request()),
    ),
    AppPage("teacher/status.py", "Status", None, status_page, hidden=True),
)
"""The first page is the one that the address without a name opens."""


def show_page(name: str) -> None:
    """Draw the contents of the page with this name; an error of attnviz becomes a message."""
    page = next(one for one in PAGES if one.name == name)
    with explained():
        page.draw()

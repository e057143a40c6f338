"""Entries of the app: the files of a checkout and the table of the package have the same pages."""

from __future__ import annotations

import ast
import re

import pytest
from streamlit.errors import StreamlitAPIException

from attnviz.ui.components import browser_theme
from attnviz.ui.entry.page_table import PAGES, AppPage
from tests.app.conftest import ROOT

FOLDER = ROOT / "pages"
PACKAGE = ROOT / "attnviz"


def test_every_page_of_the_table_has_a_file_and_no_other_file_exists() -> None:
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py")}
    assert files == {page.file for page in PAGES}
    assert len({page.name for page in PAGES}) == len(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_shows_the_page_of_its_name(page: AppPage) -> None:
    tree = ast.parse((FOLDER / page.file).read_text("utf-8"))
    assert ast.unparse(tree.body[-1]) == f"show_page({page.name!r})"


def test_the_settings_of_a_checkout_are_those_of_the_package() -> None:
    package = PACKAGE / "ui" / "entry" / "settings.toml"
    assert (ROOT / ".streamlit" / "config.toml").read_bytes() == package.read_bytes()


def test_links_between_pages_go_by_name() -> None:
    link = re.compile(r"(switch_page|page_link)\(\s*[\"']")
    files = [path for path in PACKAGE.rglob("*.py") if link.search(path.read_text("utf-8"))]
    assert files == [], "an installed app has no files of pages: take page_named(...)"
    assert link.search('st.page_link(\n    "pages/explore/heads.py"')


@pytest.mark.parametrize("page", [None, "pages/explore/lines.py", "pages/diagnose/diagnosis.py"])
def test_without_the_package_installed_every_page_shows_the_command(open_app, monkeypatch, page):
    def refuse(*_, **__):
        raise StreamlitAPIException("no such component")

    monkeypatch.setattr("streamlit.components.v2.component", refuse)
    monkeypatch.setattr(browser_theme._watch, "_show", None)
    app = open_app(page)
    assert [one.value for one in app.error] == [
        "The maps cannot be drawn: attnviz is not installed in this Python environment."
    ]
    assert [one.value for one in app.code] == ['pip install -e ".[app]"']
    assert not app.selectbox

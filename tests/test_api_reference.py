"""`docs/reference/api.md` names the public API with its signatures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import attnviz
from attnviz.attention import AttentionStack
from attnviz.efficient.variants import VARIANTS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/**/*.md"),
]
PAGE = (ROOT / "docs/reference/api.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
"""The last section of each name: a function and a type can differ in capitals only."""

INSTANCES = {"AttentionStack": "stack", "Diagnosis": "diagnosis", "AttentionMonitor": "monitor"}
"""Names of the instances in signatures of methods."""


IN_TABLES = ("finding", "on_host")
"""Methods that stand in a table of attributes."""


def signature(name: str, function: Any, *, method: bool = False) -> str:
    """Return a call as the page writes it: names, kinds and defaults, without annotations."""
    whole = inspect.signature(function)
    parameters = [
        one.replace(annotation=inspect.Parameter.empty) for one in whole.parameters.values()
    ]
    plain = inspect.Signature(parameters[1:] if method else parameters)
    return f"{name}{plain}".replace("slice(None, None, None)", "slice(None)")


def calls() -> Iterator[str]:
    """Yield the signature of every public function, and of every method that takes arguments."""
    for name in attnviz.__all__:
        member = getattr(attnviz, name)
        if inspect.isfunction(member):
            yield signature(f"attnviz.{name}", member)
        elif isinstance(member, ModuleType) and member is not attnviz.views:
            for inner in member.__all__:
                if inspect.isfunction(getattr(member, inner)):
                    yield signature(f"attnviz.{name}.{inner}", getattr(member, inner))
    yield signature("attnviz.AttentionMonitor", attnviz.AttentionMonitor)
    for owner in (AttentionStack, attnviz.Diagnosis, attnviz.AttentionMonitor):
        for name in _public(owner):
            member = inspect.getattr_static(owner, name, None)
            if inspect.isfunction(member) and name not in IN_TABLES:
                yield signature(f"{INSTANCES[owner.__name__]}.{name}", member, method=True)


def _public(owner: type) -> list[str]:
    """Return the public attributes of a class: fields, properties and methods."""
    fields = [one.name for one in dataclasses.fields(owner)] if _is_dataclass(owner) else []
    return [
        name
        for name in dict.fromkeys([*fields, *vars(owner)])
        if not name.startswith("_")
        and not (owner is attnviz.AttentionMonitor and name[:3] == "on_")
    ]


def _is_dataclass(owner: type) -> bool:
    return dataclasses.is_dataclass(owner)


@pytest.mark.parametrize("call", list(calls()))
def test_every_signature_is_the_code_s(call: str) -> None:
    assert f"    {call}\n" in PAGE


def test_no_signature_is_out_of_date() -> None:
    written = re.findall(r"^    ((?:attnviz|stack|diagnosis|monitor)\..*)$", PAGE, re.MULTILINE)
    assert written and set(written) <= set(calls())


@pytest.mark.parametrize("name", attnviz.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    assert name in SECTIONS or f"`{name}`" in PAGE
    member = getattr(attnviz, name)
    if isinstance(member, ModuleType):
        section = SECTIONS[name]
        for inner in member.__all__:
            assert re.search(rf"\b{inner}\b", section), f"{name}.{inner}"


@pytest.mark.parametrize(
    "owner",
    [
        attnviz.Model,
        attnviz.Capture,
        attnviz.Diagnosis,
        attnviz.Proof,
        attnviz.AttentionMonitor,
        AttentionStack,
    ],
    ids=lambda owner: owner.__name__,
)
def test_every_public_attribute_is_described(owner: type) -> None:
    section = SECTIONS[owner.__name__]
    for name in _public(owner):
        assert re.search(rf"`{name}`|\.{name}\(", section), name


def test_every_variant_has_its_row_with_its_options() -> None:
    rows = re.findall(r"^\| (`\w+` \| [a-z ]+ \| .*) \|$", SECTIONS["efficient"], re.MULTILINE)
    expected = []
    for variant, function in VARIANTS:
        options = [
            f"`{one.replace(annotation=inspect.Parameter.empty)}`"
            for one in inspect.signature(function).parameters.values()
            if one.name != "inputs"
        ]
        cells = (f"`{variant.name}`", variant.relation, ", ".join(options), variant.paper)
        expected.append(" | ".join(cells).replace("|  |", "| |"))
    assert rows == expected


def dotted_names(text: str) -> set[str]:
    """Return names below attnviz with dots, without file names and calls' arguments."""
    names = re.findall(r"\battnviz((?:\.[A-Za-z_]\w*)+)", text)
    return {name[1:] for name in names if not re.search(r"\.(py|toml|md|png|csv|json|db)$", name)}


def resolved(name: str) -> object:
    """Return what a dotted name below attnviz stands for; an attribute may be a field."""
    here: object = attnviz
    path = "attnviz"
    for part in name.split("."):
        path += f".{part}"
        here = getattr(here, part) if hasattr(here, part) else importlib.import_module(path)
    return here


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_in_the_documents_exists(page: Path) -> None:
    for name in dotted_names(page.read_text("utf-8")):
        resolved(name)


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert dotted_names("`attnviz.efficient.run(x)`, attnviz/app.py, attnviz.app.py") == {
        "efficient.run"
    }
    with pytest.raises(ImportError):
        resolved("efficient.nothing_of_this_name")

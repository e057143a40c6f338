"""`docs/reference/api.md` names the public API with its signatures."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import attnviz
from attnviz.attention import AttentionStack

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "api.md").read_text("utf-8")
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

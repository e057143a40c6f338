"""Tests on well-known checkpoints: only with access to the hub, and only on request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanted = os.environ.get("ATTNVIZ_HUB")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hub)
            if not wanted:
                reason = "needs the hub: run with ATTNVIZ_HUB=1 pytest -m hub"
                item.add_marker(pytest.mark.skip(reason))


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the hub on; the other tests run with it switched off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

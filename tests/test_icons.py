"""Test that every icon that is named exists: others would be shown as their name."""

from __future__ import annotations

import re
from pathlib import Path

from streamlit.material_icon_names import ALL_MATERIAL_ICONS

ROOT = Path(__file__).parents[1]


def test_every_icon_exists() -> None:
    named = {
        (path.name, name)
        for folder in ("attnviz", "pages")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r":material/(\w+):", path.read_text("utf-8"))
    }
    assert len(named) > 20
    assert not {(file, name) for file, name in named if name not in ALL_MATERIAL_ICONS}

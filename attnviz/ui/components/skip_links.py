"""Links that are shown when the keyboard reaches them, and lead past the controls to a map."""

from __future__ import annotations

from collections.abc import Mapping

from attnviz.ui.components.served_component import ServedComponent

__all__ = ["skip_links"]

_links = ServedComponent("skip_links", '<div class="links"></div>')


def skip_links(targets: Mapping[str, str]) -> None:
    """Show links at the top of a page, visible while they have the focus.

    Args:
        targets: the text of each link, by the key of the map that gets the focus.
    """
    _links(data={"targets": dict(targets)}, key="skip_links")

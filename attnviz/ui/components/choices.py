"""Menus and rows of buttons.

`choice` is for one option, `choices` for several, and `shortcuts` for buttons that fill in fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, TypeVar

import streamlit as st

from attnviz.ui.session import state

__all__ = ["choice", "choices", "shortcuts"]

Option = TypeVar("Option")


def choice(
    label: str,
    options: Mapping[Option, str] | Sequence[Option],
    key: str,
    *,
    first: Option | None = None,
    shape: Literal["buttons", "menu"] = "buttons",
    label_of: Callable[[Option], str] = str,
    link: bool = False,
    show_label: bool = True,
    new_names: bool = False,
    keep: bool = True,
    on_change: Callable[[], None] | None = None,
    explanation: str | None = None,
    width: int | Literal["stretch"] = "stretch",
) -> Option:
    """Draw a control in which one option is always chosen, and return this option.

    Args:
        label: above the control; the control's name for screen readers.
        options: the options, or a mapping from each option to its text on the screen.
        key: in the session; with `link` also the name in the address.
        first: the option chosen at first; the first of `options` when None.
        shape: a row of buttons, or a menu that opens.
        label_of: returns the text of an option; not used where `options` is a mapping.
        link: the address carries the option, and a link with it opens the same view.
        show_label: draw the label; screen readers have it in any case.
        new_names: a menu that also takes names that are typed; the options are strings then.
        keep: the session keeps the option while another page is shown.
        on_change: called before the page runs again with another option.
        explanation: shown when the pointer rests on the label.
        width: of a menu, in pixels; "stretch" takes what there is.
    """
    names = list(options)
    start = names[0] if first is None else first
    if link:  # the session has the value; a default of the control would be a second one
        state.from_link(key, names, start)
    chosen: object
    if shape == "menu":
        chosen = st.selectbox(
            label,
            names,
            index=0 if link else names.index(start),
            format_func=_text_of(options, label_of),
            key=key,
            help=explanation,
            on_change=on_change or "rerun",
            label_visibility="visible" if show_label else "collapsed",
            accept_new_options=new_names,
            persist_state="session" if keep else None,
            width=width,
        )
    else:
        chosen = st.segmented_control(
            label,
            names,
            default=None if link else start,
            format_func=_text_of(options, label_of),
            key=key,
            help=explanation,
            on_change=on_change or "rerun",
            label_visibility="visible" if show_label else "collapsed",
            required=True,
            persist_state="session" if keep else None,
        )
    if link:
        state.to_link(key)
    return names[0] if chosen is None else chosen  # type: ignore[return-value]


def choices(
    label: str,
    options: Mapping[Option, str] | Sequence[Option],
    key: str,
    *,
    first: Collection[Option] = (),
    label_of: Callable[[Option], str] = str,
    keep: bool = True,
    explanation: str | None = None,
) -> list[Option]:
    """Draw a row of pills of which any number may be chosen, and return the chosen ones.

    Args:
        label: above the pills.
        options: the options, or a mapping from each option to its text on the screen.
        key: in the session.
        first: the options chosen at first.
        label_of: returns the text of an option; not used where `options` is a mapping.
        keep: the session keeps the options while another page is shown.
        explanation: shown when the pointer rests on the label.
    """
    return st.pills(
        label,
        list(options),
        selection_mode="multi",
        default=list(first) or None,
        format_func=_text_of(options, label_of),
        key=key,
        persist_state="session" if keep else None,
        help=explanation,
    )


def shortcuts(
    label: str,
    options: Sequence[Option],
    key: str,
    *,
    current: Option | None,
    label_of: Callable[[Option], str],
    on_choice: Callable[[Option], None],
) -> None:
    """Draw a row of pills that fill in other fields; the one whose values they hold is lit.

    Args:
        label: above the pills.
        options: the options.
        key: in the session.
        current: the option whose values the fields hold; None when there is none.
        label_of: returns the text of an option.
        on_choice: called with the chosen option before the page runs again.
    """

    def take() -> None:
        chosen = st.session_state[key]
        if chosen is not None:
            on_choice(chosen)

    st.session_state[key] = current
    st.pills(label, options, format_func=label_of, key=key, on_change=take)


def _text_of(
    options: Mapping[Option, str] | Sequence[Option], label_of: Callable[[Option], str]
) -> Callable[[Option], str]:
    """Return the function from an option to its text on the screen."""
    return options.__getitem__ if isinstance(options, Mapping) else label_of

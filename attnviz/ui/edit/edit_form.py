"""Form in which an edit is chosen."""

from __future__ import annotations

import streamlit as st

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.experiments.edits.edit_rules import Action, Edit
from attnviz.experiments.edits.masked_tokens import mask_id
from attnviz.models import Model
from attnviz.types import Head, Tokens
from attnviz.ui.components.choices import choice
from attnviz.ui.edit.edit_links import LARGEST_FACTOR
from attnviz.ui.edit.listed_edits import ListedEdit, MaskedToken, RowsOfText
from attnviz.ui.edit.row_painter import painted_row
from attnviz.ui.session.model_cache import CHARACTERS_PER_TOKEN
from attnviz.ui.session.request_ids import EDITED_TOKENS

__all__ = ["choose_edit", "token_menu"]

OFF: dict[Action, str] = {"zero": "Zero", "mean": "Its mean over the text"}
FORCED = {
    "uniform": "Equal weights",
    "previous": "Previous token",
    "first": "First token",
    "paint": "One row by hand",
    "text": "Rows of another text",
}


def choose_edit(model: Model, stack: AttentionStack, head: Head) -> ListedEdit:
    """Show the controls of an edit and return it.

    Args:
        model: of the page.
        stack: attention of the head's kind on the text.
        head: the chosen head.

    Raises:
        InputError: what is filled in is no edit, such as a row that does not sum to 1.
    """
    actions = {
        "off": "Switch off",
        "rows": "Rows",
        "scale": "Scale",
        "hide": "Hide",
    }
    if mask_id(model) is not None:
        actions["mask"] = "Mask"
    if st.session_state.get("edit_action") not in actions:
        st.session_state.pop("edit_action", None)
    action = choice(
        "Edit",
        actions,
        "edit_action",
        explanation="Switch the head off, force its rows of weights, scale its output, hide a "
        "token from it or from all heads, or put the mask token in place of a token.",
    )
    if action == "off":
        way = choice(
            "Its output becomes",
            OFF,
            "edit_off",
            explanation="The mean keeps what the head adds whatever the token is.",
        )
        return Edit(way, head)
    if action == "scale":
        factor = st.slider(
            "Its output times", -LARGEST_FACTOR / 2, LARGEST_FACTOR / 2, 2.0, 0.1,
            key="edit_factor", persist_state="session",
            help="1 changes nothing, 0 switches the head off, −1 turns its output around.",
        )  # fmt: skip
        return Edit("scale", head, factor=float(factor))
    if action == "hide":
        return _hidden(stack, head)
    if action == "mask":
        st.caption("The token is replaced by the mask token; the head does not matter.")
        return MaskedToken(token_menu("Token", stack.key_tokens, "edit_mask"))
    return _forced(stack, head)


def _hidden(stack: AttentionStack, head: Head) -> Edit:
    token = token_menu("Token", stack.key_tokens, "edit_hidden")
    where = choice(
        "Hidden from",
        {"head": f"This head, {head.label}", "all": "All heads"},
        "edit_from",
        explanation="The query of this token still sees it, so that every row has a key.",
    )
    if where == "head":
        return Edit("hide", head, token=token)
    return Edit("hide", token=token, kind=head.kind)


def _forced(stack: AttentionStack, head: Head) -> ListedEdit:
    ways = {name: text for name, text in FORCED.items() if name != "previous" or stack.same_text}
    if st.session_state.get("edit_rows") not in ways:
        st.session_state.pop("edit_rows", None)
    way = choice("Every query looks at", ways, "edit_rows", shape="menu")
    if way == "paint":
        return painted_row(stack, head)
    if way == "text":
        return _other_text(stack, head)
    return Edit(way, head)  # type: ignore[arg-type]


def _other_text(stack: AttentionStack, head: Head) -> RowsOfText:
    most = CHARACTERS_PER_TOKEN * EDITED_TOKENS
    text = st.text_area(
        "Other text", key="edit_other_text", height=80, max_chars=most, persist_state="session"
    )
    target = ""
    if head.kind in ("decoder", "cross"):
        target = st.text_input(
            "Other output", key="edit_other_target", placeholder="written by the model",
            max_chars=most, persist_state="session",
        )  # fmt: skip
    sizes = sorted({len(stack.query_tokens), len(stack.key_tokens)})
    st.caption(f"With as many tokens as this one: {' and '.join(map(str, sizes))}.")
    return RowsOfText(head, text, target)


def token_menu(label: str, tokens: Tokens, key: str, first: int | None = None) -> int:
    """Show a menu of the tokens of a text and return the chosen position.

    Args:
        label: of the menu.
        tokens: of the text.
        key: in the session.
        first: the position chosen at first; the last token when None.
    """
    places = range(len(tokens))
    if st.session_state.get(key) not in places:
        st.session_state[key] = places[-1] if first is None else first
    return choice(
        label,
        places,
        key,
        shape="menu",
        label_of=lambda place: f"{place}: {words.quoted(tokens.labels[place])}",
        keep=False,
    )

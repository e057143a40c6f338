"""Side bar: which model reads which text."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from attnviz.models import Model, reads_its_text_twice
from attnviz.types import Family, ModelInfo
from attnviz.ui.components.choices import choice, shortcuts
from attnviz.ui.explore.head_picker import own_layers, without_attention
from attnviz.ui.server.permissions import listed_models, takes_any_model
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.example_texts import Example, examples_of
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.plain_text import plain, show_plain
from attnviz.written_numbers import decimals

__all__ = ["choose_model", "choose_text", "sidebar"]

ANY_MODEL = (
    "One of the models that come with attnviz, or type the name of any BERT, GPT, T5 or relative "
    "on the Hugging Face hub (org/model), or a folder of this server."
)


def sidebar() -> Request:
    """Show the side bar, and return model and text."""
    with st.sidebar:
        with explained():
            model = choose_model()
        request = choose_text(model)
        _worth_a_look(model.info)
        state.share_link(request)
    return request


def choose_model() -> Model:
    """Show the menu of models, and return the model; it also takes a hub name or a folder."""
    names = listed_models()
    linked = st.session_state.get(state.MODEL) or st.query_params.get(state.MODEL)
    if linked and linked not in names and takes_any_model():
        names.append(linked)
    state.from_link(state.MODEL, names, names[0])
    name = choice(
        "Model",
        names,
        state.MODEL,
        shape="menu",
        new_names=takes_any_model(),
        keep=False,
        on_change=state.forget_view,
        explanation=ANY_MODEL if takes_any_model() else "The models of this server.",
    )
    model = load_model(name)
    state.to_link(state.MODEL)
    st.caption(plain(_facts(model.info)), help=plain(_copy_of(model.info)))
    if note := without_attention(model.info):
        show_plain(note, small=True)
    return model


def _facts(info: ModelInfo) -> str:
    shapes = ", ".join(
        f"{layers} × {heads}" if kind == "self" else f"{kind} {layers} × {heads}"
        for kind, (layers, heads) in info.heads.items()
    )
    room = f"up to {info.max_tokens:,} tokens" if info.max_tokens else "any length"
    return (
        f"{info.title} · {shapes} heads{_own_layers(info)} · "
        f"{decimals(info.parameters / 1e6, 1)} M parameters · {room}"
    )


def _copy_of(info: ModelInfo) -> str:
    """Return where the model runs, and which copy of it."""
    return f"Runs on {info.device} in {info.dtype}. Revision {info.revision[:12]}."


def _own_layers(info: ModelInfo) -> str:
    """Return where the attention of a hybrid is; nothing for a model that has it in every layer."""
    parts = [own_layers(info, kind) for kind in info.heads]
    return "".join(
        f", in the model's layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
        for layers in parts
        if layers
    )


def choose_text(model: Model) -> Request:
    """Show the text fields of this family of models, and return the request."""
    family = model.info.family
    keys = state.text_keys(family)
    examples = examples_of(model.info.name, family)
    start = state.start_with(keys, examples[0]) or Example("", "", "", "")
    above = st.container()
    text = st.text_area(
        "Text",
        start.text,
        key=keys.text,
        height=110,
        persist_state="session",
        help=_text_help(model),
    )
    pair = target = ""
    begin = True
    if family == "encoder" or reads_its_text_twice(model.network):
        pair = st.text_input(
            "Second sentence",
            start.pair,
            key=keys.pair,
            persist_state="session",
            help="Optional. The model reads both, with [SEP] between them.",
        )
    elif family == "encoder-decoder":
        target = st.text_input(
            "Output",
            start.target,
            key=keys.target,
            persist_state="session",
            placeholder="written by the model",
            help="Leave it empty and the model writes it; or give one and see what the decoder "
            "looks at while it writes yours.",
        )
    elif model.tokenizer.bos_token_id is not None:
        begin = st.toggle(
            "Start with the begin token",
            value=True,
            key=state.BEGIN,
            persist_state="session",
            help="The model was trained to see it first, and many heads rest on it. Without it the "
            "first word takes its place.",
        )
    with above:
        _choose_example(examples, family, keys)
    chosen = next((one for one in examples if one.text == text and one.hint), None)
    with st.container():  # what is below stays in its place when the hint goes
        if chosen is not None:
            st.caption(f":material/visibility: {chosen.hint}")
    return Request(model.info.name, text, pair, target, begin)


def _choose_example(examples: Sequence[Example], family: Family, keys: state.TextKeys) -> None:
    """Show the examples; the one whose texts are in the fields is selected."""
    shortcuts(
        "Examples",
        examples,
        f"example:{family}",
        current=next((one for one in examples if state.filled(keys, one)), None),
        label_of=lambda example: example.title,
        on_choice=lambda example: state.fill(keys, example),
    )


def _text_help(model: Model) -> str:
    help_text = "Press Ctrl+Enter, or click anywhere else, to read it."
    if model.prompt:
        help_text += f" The model's task, “{plain(model.prompt)}”, is put before it."
    return help_text


def _worth_a_look(info: ModelInfo) -> None:
    """Show buttons for the heads that are known to do something."""
    if not info.known_heads:
        return
    with st.container(key="worth_a_look", gap=None):
        st.markdown("**Worth a look**")
        for number, known in enumerate(info.known_heads[:8]):
            st.button(
                plain(f"{known.head.label} {known.label.split(':')[0]}"),
                key=f"known:{info.name}:{number}",
                on_click=state.choose_head,
                args=(known.head,),
                type="tertiary",
                help=plain(f"{known.label}, measured score {decimals(known.score)}"),
            )

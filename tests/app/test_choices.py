"""Controls for one option or several: what is chosen first, kept, and carried by the address."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from attnviz.ui.components.choices import choice, choices

    names = {1: "one", 2: "two", 3: "three"}
    st.text(
        repr(
            (
                choice("Buttons", names, "buttons", first=2),
                choice("Menu", range(3), "menu", shape="menu", first=1, link=True),
                choice(
                    "Names", ["a", "b"], "names", shape="menu", new_names=True, show_label=False
                ),
                choices("Several", names, "several", first=[1, 3]),
            )
        )
    )


def test_the_first_options_are_those_given() -> None:
    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.text[0].value == "(2, 1, 'a', [1, 3])"
    assert app.segmented_control(key="buttons").options == ["one", "two", "three"]
    assert app.query_params["menu"] == "1"
    assert "names" not in app.query_params


def test_a_link_chooses_and_an_unknown_option_in_it_does_not() -> None:
    app = AppTest.from_function(page)
    app.query_params["menu"] = "2"
    assert app.run().text[0].value == "(2, 2, 'a', [1, 3])"
    app = AppTest.from_function(page)
    app.query_params["menu"] = "9"
    assert app.run().text[0].value == "(2, 1, 'a', [1, 3])"


def test_a_choice_is_returned_and_written_into_the_address() -> None:
    app = AppTest.from_function(page).run()
    app.selectbox(key="menu").set_value(0)
    app.segmented_control(key="buttons").set_value(3)
    app.pills(key="several").set_value([])
    app.run()
    assert not app.exception
    assert app.text[0].value == "(3, 0, 'a', [])"
    assert app.query_params["menu"] == "0"


def test_every_run_sends_the_linked_value_to_the_browser() -> None:
    """A browser that forgot the menu must not begin with the first option and report that."""
    app = AppTest.from_function(page)
    app.query_params["menu"] = "2"
    for _ in range(3):
        app.run()
        assert app.selectbox(key="menu").proto.set_value
        assert app.text[0].value == "(2, 2, 'a', [1, 3])"
    app.selectbox(key="menu").set_value(0).run()
    assert app.text[0].value == "(2, 0, 'a', [1, 3])"


def shortcut_page() -> None:
    import streamlit as st

    from attnviz.ui.components.choices import shortcuts

    st.session_state.setdefault("field", "b")
    shortcuts(
        "Examples",
        ["a", "b"],
        "pill",
        current=next((one for one in "ab" if one == st.session_state["field"]), None),
        label_of=str.upper,
        on_choice=lambda chosen: st.session_state.update(field=chosen),
    )
    st.text_input("Field", key="field")


def test_a_shortcut_fills_in_the_field_and_is_lit_while_the_field_holds_its_value() -> None:
    app = AppTest.from_function(shortcut_page).run()
    assert not app.exception
    assert app.pills(key="pill").value == "b"
    app.pills(key="pill").set_value("a").run()
    assert app.text_input(key="field").value == "a"
    assert app.pills(key="pill").value == "a"
    app.text_input(key="field").set_value("c").run()
    assert app.pills(key="pill").value is None
    assert app.text_input(key="field").value == "c"

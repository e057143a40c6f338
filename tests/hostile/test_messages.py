"""Messages that a browser can send, sent to a running server beside another visitor."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.session_state import WStates
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from attnviz.ui.server.browser_messages import KEPT_FILES, NEEDED, NEEDED_OPERATIONS, restrict
from tests.served import ROOT, script, served
from tests.visitors import Visitor, visiting

KINDS = [one.name for one in BackMsg.DESCRIPTOR.oneofs_by_name["type"].fields]
REQUEST = BackMsg.DESCRIPTOR.fields_by_name["backend_operation_request"].message_type
OPERATIONS = [one.name for one in REQUEST.oneofs_by_name["payload"].fields]
VALUES = [one.name for one in WidgetState.DESCRIPTOR.oneofs_by_name["value"].fields]

MODELS = ("Model", "Second model")
"""Menus that take any name."""

TEXT = "cold rain fell on the cold town and cold rain fell"


@contextmanager
def serving(
    arguments: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Serve the app; yield its address, and check that the log has no text of a visitor."""
    log = tmp_path_factory.mktemp("server") / "log"
    with served(arguments, log) as server:
        yield server
    assert TEXT not in log.read_text("utf-8", errors="replace")


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a server started with `attnviz app`."""
    with serving(
        lambda port: ["attnviz", "app", "--port", port, "--headless"], tmp_path_factory
    ) as server:
        yield server


@pytest.fixture(scope="module")
def by_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a server started with `streamlit run app.py`."""
    with serving(script("app.py"), tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module", params=["by_command", "by_script"])
def address(request: pytest.FixtureRequest) -> str:
    """Return the address of either server."""
    server: str = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def stranger(address: str) -> Iterator[Visitor]:
    with visiting(address) as visitor:
        yield visitor.open("model=gpt-classroom")


@pytest.fixture(scope="module")
def student(address: str) -> Iterator[Visitor]:
    with visiting(address) as visitor:
        visitor.open("model=gpt-classroom")
        visitor.set(**{visitor.widget("Text").id: ("string_value", TEXT)})
        yield visitor


def works(visitor: Visitor) -> bool:
    """Return True if a choice in a menu changes the head on the page and the text stays."""
    (title,) = [one.body for one in visitor.all("heading")]
    head = "1" if "H3" in title else "3"
    visitor.set(**{visitor.widget("Head").id: ("string_value", f"Head {head}")})
    assert visitor.exceptions == []
    (title,) = [one.body for one in visitor.all("heading")]
    assert f"H{head}" in title
    return "cold" in str(visitor.widget("attnviz.token_strip").bytes)


def replies(visitor: Visitor, message: BackMsg) -> set[str]:
    """Send a message; return the kinds of what the server has to say to it."""
    visitor.send(message)
    visitor.send(BackMsg(app_heartbeat=True))
    while visitor.receive(30).WhichOneof("type") != "heartbeat_ack":
        pass
    # The status of the session may still follow from the run before.
    kinds = {str(one.WhichOneof("type")) for one in visitor.replies}
    return kinds - {"heartbeat_ack", "session_status_changed"}


def samples(kind: str, session: str) -> list[BackMsg]:
    """Return messages of one kind, odd contents included."""
    if kind == "rerun_script":
        messages = [BackMsg() for _ in range(4)]
        messages[0].rerun_script.fragment_id = "x" * 1000
        messages[1].rerun_script.page_script_hash = messages[1].rerun_script.page_name = "../../etc"
        messages[2].rerun_script.query_string = "model=gpt-classroom&" + "a=b&" * 50_000
        for number, value in enumerate(VALUES):
            state = messages[3].rerun_script.widget_states.widgets.add(id=f"unknown {number}")
            field = WidgetState.DESCRIPTOR.fields_by_name[value]
            if field.message_type is not None:
                getattr(state, value).SetInParent()
        for one in messages:
            one.rerun_script.SetInParent()
            one.rerun_script.context_info.url = "javascript:alert(1)"
            one.rerun_script.context_info.timezone = "../../etc"
            one.rerun_script.context_info.color_scheme = "x"
        return messages
    if kind == "file_urls_request":
        names = [f"file {number}" for number in range(50_000)]
        request = {"request_id": "1", "file_names": names, "session_id": session}
        return [BackMsg(file_urls_request=request)]
    if kind == "backend_operation_request":
        messages = []
        for whose in (session, "another", ""):
            for operation in [*OPERATIONS, None]:
                message = BackMsg()
                request = message.backend_operation_request
                request.request_id, request.session_id = "1", whose
                if operation is not None:
                    getattr(request, operation).SetInParent()
                messages.append(message)
        return messages
    return [BackMsg(**{kind: value}) for value in (True, False)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_message_disturbs_another_visitor(
    stranger: Visitor, student: Visitor, kind: str
) -> None:
    for message in samples(kind, stranger.session):
        stranger.send(message)
    assert works(student)


def test_clearing_the_caches_is_ignored(stranger: Visitor) -> None:
    stranger.set(**{stranger.widget("Text").id: ("string_value", "the dark cold sea")})
    assert replies(stranger, BackMsg(clear_cache=True)) == set()
    stranger.set()
    assert "cold" in str(stranger.widget("attnviz.token_strip").bytes)


def test_a_class_goes_on_while_caches_are_to_be_cleared(address: str, stranger: Visitor) -> None:
    with ExitStack() as stack:
        students = [stack.enter_context(visiting(address)) for _ in range(6)]
        models = ("gpt-classroom", "bert-classroom", "t5-classroom")
        for number, one in enumerate(students):
            one.query = f"model={models[number % 3]}"
            one.send(one.rerun({}))
            stranger.send(BackMsg(clear_cache=True))
        for one in students:
            one.finished()
            assert one.exceptions == []
            assert one.all("heading")


def test_the_state_of_the_checkout_is_not_sent(stranger: Visitor) -> None:
    assert replies(stranger, BackMsg(load_git_info=True)) == set()


def test_the_server_is_not_shut_down(address: str, stranger: Visitor) -> None:
    assert replies(stranger, BackMsg(debug_shutdown_runtime=True)) == set()
    assert urllib.request.urlopen(f"{address}/_stcore/health", timeout=10).status == 200


def test_nothing_is_written_beside_the_app(stranger: Visitor) -> None:
    def status() -> str:
        return subprocess.run(
            ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    before = status()
    for message in samples("backend_operation_request", stranger.session):
        replies(stranger, message)
    assert status() == before


DEEP = "[" * 100_000 + "]" * 100_000
ODD: list[tuple[str, object]] = [
    ("trigger_value", True), ("bool_value", True), ("double_value", float("nan")),
    ("double_value", 1e300), ("int_value", -(2**62)), ("string_value", "x"), ("string_value", ""),
    ("double_array_value", []), ("double_array_value", [float("inf"), -1e300]),
    ("int_array_value", [-1, 10**9]), ("string_array_value", ["x", "x"]), ("bytes_value", b"\xff"),
    ("json_value", "no json"), ("json_value", "null"), ("json_value", "[5]"), ("json_value", DEEP),
    ("json_value", f'{{"view": {DEEP}, "selection": {DEEP}}}'),
    ("json_value", '{"view": 5, "selection": {"points": 5, "rows": [true], "cells": 5}}'),
    ("json_value", '{"view": {"text": [], "region": [true, 1e999, NaN, 5], "turn": {}}}'),
    ("json_value", '{"selection": {"points": [{"customdata": ["a", null]}], "rows": [-1]}}'),
    ("json_trigger_value", "[5, {}, null]"), ("json_trigger_value", DEEP),
    ("json_trigger_value", '[{"event": "clicked", "value": {"index": true, "tokens": 5}}]'),
    ("json_trigger_value", '[{"event": "cell", "value": {"row": true, "column": [], "text": 5}}]'),
]  # fmt: skip


PAGES = (
    *("", "pair", "lines", "induction", "diagnosis", "two_models", "lessons", "edit", "patch"),
    *("laboratory", "cache", "generate"),
)


def check_odd_values(address: str, page: str) -> None:
    """Send every odd value to every widget of a page; the session must go on."""
    with visiting(address) as visitor:
        visitor.query, visitor.page = "model=gpt-classroom", page
        visitor.set()
        for field, value in ODD:
            widgets = [
                getattr(one, str(one.WhichOneof("type")))
                for one in visitor.elements
                if one.WhichOneof("type") not in ("download_button", None)
            ]
            ids = {
                one.id
                for one in widgets
                if getattr(one, "id", "") and getattr(one, "label", "") not in MODELS
            }
            visitor.set(**dict.fromkeys(ids, (field, value)))
            assert visitor.exceptions == [], (field, value)
            visitor.set()
            assert visitor.exceptions == [], (field, value)
            assert len(ids) > 2


@pytest.mark.parametrize("page", PAGES)
def test_a_session_goes_on_after_values_that_fit_no_widget(by_command: str, page: str) -> None:
    check_odd_values(by_command, page)


def test_a_session_goes_on_with_the_other_server_too(by_script: str) -> None:
    """Pages are the same code there; what refuses a message is set up elsewhere."""
    check_odd_values(by_script, "")


def test_whole_numbers_and_other_numbers_fit_a_number_input() -> None:
    restrict()
    for kind, value in (("int_value", 7), ("double_value", 7.0), ("string_value", "7")):
        states = WStates()
        states.set_widget_from_proto(WidgetState(id="x", **{kind: value}))
        states.set_widget_metadata(
            WidgetMetadata(
                id="x",
                deserializer=lambda given: given,
                serializer=lambda given: given,
                value_type="double_value",
            )
        )
        assert states.get("x") == (7 if kind != "string_value" else None)


@pytest.mark.parametrize("frame", [b"\xff" * 1000, b"", "text", b"\x00" * (26 << 20)])
def test_broken_frames_end_no_other_connection(
    address: str, student: Visitor, frame: bytes | str
) -> None:
    with connect(
        address.replace("http", "ws") + "/_stcore/stream",
        origin=address,  # type: ignore[arg-type]
        subprotocols=["streamlit"],  # type: ignore[list-item]
    ) as connection:
        try:
            connection.send(frame)
            connection.recv(timeout=2)
        except (TimeoutError, ConnectionClosed):
            pass
    assert works(student)


def test_a_session_keeps_few_files(address: str, stranger: Visitor) -> None:
    health = urllib.request.urlopen(f"{address}/_stcore/health", timeout=10)
    cookie = health.headers["Set-Cookie"].split(";")[0]

    def put(name: str) -> None:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n'
            b"Content-Type: text/plain\r\n\r\n" + b"a" * 1_000_000 + b"\r\n--x--\r\n"
        )
        request = urllib.request.Request(
            f"{address}/_stcore/upload_file/{stranger.session}/{name}",
            data=body,
            method="PUT",
            headers={
                "Content-Type": "multipart/form-data; boundary=x",
                "Cookie": cookie,
                "X-Xsrftoken": cookie.partition("=")[2],
            },
        )
        assert urllib.request.urlopen(request, timeout=30).status == 204

    for number in range(8):
        put(f"file-{number}")
    metrics = urllib.request.urlopen(f"{address}/_stcore/metrics", timeout=10).read().decode()
    (held,) = re.findall(r'UploadedFileManager".*} (\d+)', metrics)
    assert int(held) == KEPT_FILES * 1_000_000


def test_every_kind_is_described() -> None:
    document = (ROOT / "docs" / "reference" / "security.md").read_text("utf-8")
    section = document.split("## Messages a browser can send")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", section, re.MULTILINE)
    described = dict(rows)
    assert set(described) == {*KINDS, *OPERATIONS, *VALUES}
    for kind in KINDS:
        assert (described[kind] == "handled") == (kind in NEEDED)
    for operation in OPERATIONS:
        assert (described[operation] == "handled") == (operation in NEEDED_OPERATIONS)

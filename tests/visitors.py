"""Visitor of the app without a browser: messages over the server's websocket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

PATIENCE = 120  # seconds


class Visitor:
    """Session of a running server.

    Attributes:
        session: the name that the server has given to the session.
        query: the query string of the address.
        page: the page's part of the address; empty for the first one.
        elements: what the last run has shown, in order.
        replies: other messages since the last run began.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.session = ""
        self.query = ""
        self.page = ""
        self.elements: list[Element] = []
        self.replies: list[ForwardMsg] = []

    def open(self, query: str = "") -> Visitor:
        """Load the page of a link, and wait until it is complete."""
        self.query = query
        return self.set()

    def set(self, **widgets: Any) -> Visitor:
        """Rerun with new values of widgets, `id=(field, value)`, and wait for the page."""
        return self.send(self.rerun(widgets)).finished()

    def rerun(self, widgets: dict[str, Any]) -> BackMsg:
        """Return the message that reruns the script with these values."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = self.page
        for identity, (field, value) in widgets.items():
            state = message.rerun_script.widget_states.widgets.add(id=identity)
            if isinstance(value, (list, tuple)):
                getattr(state, field).data.extend(value)
                getattr(state, field).SetInParent()
            else:
                setattr(state, field, value)
        return message

    def send(self, message: BackMsg) -> Visitor:
        """Send one message, and do not wait."""
        self.elements, self.replies = [], []
        self._connection.send(message.SerializeToString())
        return self

    def finished(self) -> Visitor:
        """Read until a run is finished; one that ends in a rerun is followed by another."""
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self.receive(deadline - time.monotonic())
            if message.WhichOneof("type") != "script_finished":
                continue
            if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return self

    def receive(self, seconds: float = PATIENCE) -> ForwardMsg:
        """Return the next message of the server."""
        message = ForwardMsg()
        data = self._connection.recv(timeout=seconds)
        assert isinstance(data, bytes)
        message.ParseFromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id
            self.elements = []
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self.elements.append(message.delta.new_element)
        elif kind != "delta":
            self.replies.append(message)
        return message

    def all(self, kind: str) -> list[Any]:
        """Return the protos of all elements of a kind that the last run has shown."""
        return [getattr(one, kind) for one in self.elements if one.WhichOneof("type") == kind]

    def widget(self, label: str) -> Any:
        """Return the proto of the widget, or of the component, with this label or name."""
        for element in self.elements:
            proto = getattr(element, element.WhichOneof("type") or "", None)
            if label in (getattr(proto, "label", None), getattr(proto, "component_name", None)):
                return proto
        raise AssertionError(f"no widget {label!r} on the page")

    @property
    def exceptions(self) -> list[str]:
        """Return the type and message of every exception that the last run has shown."""
        return [f"{one.type}: {one.message}" for one in self.all("exception")]


@contextmanager
def visiting(address: str) -> Iterator[Visitor]:
    """Connect to the server of an address, as a browser does."""
    with connect(
        f"ws://{urlparse(address).netloc}/_stcore/stream",
        origin=address,  # type: ignore[arg-type]
        subprotocols=["streamlit"],  # type: ignore[list-item]
        max_size=None,
    ) as connection:
        yield Visitor(connection)

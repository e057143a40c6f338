"""Visitors of the app without a browser: each sends texts through Streamlit's websocket.

A visitor's texts carry a marker word of that visitor. A marker of another visitor in a message is
counted as mixed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection

__all__ = ["Outcome", "Visitor", "marker", "start_diagnosis", "work"]

PATIENCE = 120  # seconds until a run counts as an error
WORDS = (
    "a boy and his dog went down to the lake where big ducks swim while mother bakes bread "
    "at home then they see one red boat with two men who wave hello"
)
TEXT_WORDS = 48  # about 60 tokens with the marker
EDITS = ("zero", "mean", "uniform", "previous", "first")
SYLLABLES = ("ba", "ko", "ti", "mu", "ze", "ra", "lo", "ni", "pe", "sha", "gu", "vy")


@dataclass
class Outcome:
    """Results of all visitors.

    Attributes:
        finished: seconds from sending a text to the end of its script run.
        pictured: seconds from sending a text to the map of the chosen head.
        errors: messages of exceptions and of lost connections.
        foreign_markers: pairs of visitors: whose run it was, and whose marker was in it.
        started: runs begun.
    """

    finished: list[float] = field(default_factory=list)
    pictured: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign_markers: list[tuple[int, int]] = field(default_factory=list)
    started: int = 0


def marker(number: int) -> str:
    """Return a word that is part of no other visitor's texts."""
    first, rest = number % len(SYLLABLES), number // len(SYLLABLES)
    second, third = rest % len(SYLLABLES), rest // len(SYLLABLES)
    return "q" + SYLLABLES[first] + SYLLABLES[second] + SYLLABLES[third % len(SYLLABLES)] + "q"


class Visitor:
    """Browser tab: a websocket, and the id of the text field once the page has come.

    Args:
        number: of the visitor.
        address: host and port of the server.
        model: name.
        visitors: number of visitors.
        edits: whether the visitor is on the page Edit, and sends another list of edits each time
            and a new text every third time.
    """

    def __init__(
        self, number: int, address: str, model: str, visitors: int, edits: bool = False
    ) -> None:
        self.number, self.model, self.edits = number, model, edits
        self.marker = marker(number)
        self.others = [(k, marker(k).encode()) for k in range(visitors) if k != number]
        self._address = address
        self._random = random.Random(number)
        self._field = self._page = self._sent = ""
        self._turn = 0

    async def visit(self, until: float, period: float, outcome: Outcome) -> None:
        """Open the page, and send a new text every `period` seconds until a moment has come."""
        try:
            async with _connection(self._address) as socket:
                await self._run(socket, None, Outcome())
                if self.edits:
                    await self._run(socket, None, Outcome())  # on the page Edit, by its hash
                if not self._field or (self.edits and not self._page):
                    outcome.errors.append("the page has no text field")
                    return
                await asyncio.sleep(self._random.random() * period)
                while time.monotonic() < until:
                    begun = time.monotonic()
                    outcome.started += 1
                    await self._run(socket, self._text(), outcome)
                    await asyncio.sleep(max(0.0, period - (time.monotonic() - begun)))
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            outcome.errors.append(f"{type(error).__name__}: {error}"[:200])

    def _text(self) -> str:
        self._turn += 1
        if self.edits and self._sent and self._turn % 3 != 1:
            return self._sent
        words = (self._random.choice(WORDS.split()) for _ in range(TEXT_WORDS))
        self._sent = f"{self.marker} {self._turn} " + " ".join(words)
        return self._sent

    def _heads(self) -> list[tuple[int, int]]:
        """Return up to three heads that are edited; none of a visitor who reads."""
        count = self._random.randint(1, 3) if self.edits and self._sent else 0
        return [divmod(one, 8) for one in sorted(self._random.sample(range(32), count))]

    async def _run(self, socket: ClientConnection, text: str | None, outcome: Outcome) -> None:
        """Send a text, or open the page without one, and read until the script has finished."""
        heads, listed = self._heads(), ""
        codes = [f"{self._random.choice(EDITS)}_self_{layer}_{head}" for layer, head in heads]
        message = BackMsg()
        message.rerun_script.page_script_hash = self._page
        message.rerun_script.query_string = f"model={self.model}" + (
            f"&edits={'~'.join(codes)}" if codes else ""
        )
        if text is not None:
            widget = message.rerun_script.widget_states.widgets.add()
            widget.id, widget.string_value = self._field, text
        begun = time.monotonic()
        await socket.send(message.SerializeToString())
        pictured = False
        while True:
            received = await asyncio.wait_for(socket.recv(), PATIENCE)
            assert isinstance(received, bytes)
            outcome.foreign_markers += [
                (self.number, k) for k, word in self.others if word in received
            ]
            answer = ForwardMsg.FromString(received)
            kind = answer.WhichOneof("type")
            if kind == "script_finished":
                outcome.finished.append(time.monotonic() - begun)
                if not all(f"L{layer}·H{head}" in listed for layer, head in heads):
                    outcome.errors.append("an edit is not on the page")
                return
            if self.edits:
                for page in answer.navigation.app_pages:
                    if page.url_pathname == "edit":
                        self._page = page.page_script_hash
            if kind != "delta" or answer.delta.WhichOneof("type") != "new_element":
                continue
            element = answer.delta.new_element
            what = element.WhichOneof("type")
            if what == "button":
                listed += element.button.label
            if what == "text_area" and element.text_area.label == "Text":
                self._field = element.text_area.id
            elif what == "exception":
                outcome.errors.append(element.exception.message[:200])
            elif not pictured and element.bidi_component.component_name == "attnviz.map":
                outcome.pictured.append(time.monotonic() - begun)
                pictured = True


async def start_diagnosis(address: str, model: str, keep: asyncio.Event) -> None:
    """Open the page Diagnose, press its button, and keep the page open until `keep` is set.

    Raises:
        RuntimeError: the page or the button is missing.
    """
    async with _connection(address) as socket:
        pages: dict[str, str] = {}
        button = ""
        for page in ("", "diagnosis"):
            message = BackMsg()
            message.rerun_script.query_string = f"model={model}"
            message.rerun_script.page_script_hash = pages.get(page, "")
            await socket.send(message.SerializeToString())
            async for answer in _answers(socket):
                for one in answer.navigation.app_pages:
                    pages[one.url_pathname] = one.page_script_hash
                if answer.delta.new_element.button.label == "Diagnose":
                    button = answer.delta.new_element.button.id
        if not button:
            raise RuntimeError("the page Diagnose has no button")
        message = BackMsg()
        message.rerun_script.query_string = f"model={model}"
        message.rerun_script.page_script_hash = pages["diagnosis"]
        widget = message.rerun_script.widget_states.widgets.add()
        widget.id, widget.trigger_value = button, True
        await socket.send(message.SerializeToString())
        async for _ in _answers(socket):
            pass
        await keep.wait()


def _connection(address: str) -> websockets.connect:
    """Return a websocket of the app, to be opened with `async with`."""
    return websockets.connect(
        f"ws://{address}/_stcore/stream",
        subprotocols=[websockets.Subprotocol("streamlit")],
        max_size=None,
        origin=websockets.Origin(f"http://{address}"),
    )


async def _answers(socket: ClientConnection) -> AsyncIterator[ForwardMsg]:
    """Yield the messages of a script run until it has finished."""
    while True:
        received = await asyncio.wait_for(socket.recv(), PATIENCE)
        assert isinstance(received, bytes)
        answer = ForwardMsg.FromString(received)
        yield answer
        if answer.WhichOneof("type") == "script_finished":
            return


async def work(
    address: str,
    visitors: int,
    period: float,
    seconds: float,
    models: list[str],
    diagnosis: bool = False,
    edits: bool = False,
) -> Outcome:
    """Let a class send texts for some seconds and return the times of its runs.

    Args:
        address: host and port of the server.
        visitors: number of people.
        period: seconds between two texts of a person.
        seconds: how long they send.
        models: names; the visitors share them out.
        diagnosis: whether one more visitor starts a diagnosis of the first model before.
        edits: whether the visitors edit attention, with `gpt-classroom`.
    """
    outcome = Outcome()
    keep = asyncio.Event()
    if diagnosis:
        running = asyncio.create_task(start_diagnosis(address, models[0], keep))
    until = time.monotonic() + seconds
    people = [
        Visitor(number, address, models[number % len(models)], visitors, edits)
        for number in range(visitors)
    ]
    await asyncio.gather(*(one.visit(until, period, outcome) for one in people))
    if diagnosis:
        keep.set()
        await running
    return outcome

"""Server that is killed and started again: the browser returns to the same view and text."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect

from tests.served import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TYPED = "my own words about a green parrot that sings"
PATIENCE = 120_000


@contextmanager
def serving(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "attnviz", "app", "--headless", "--address", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def test_text_view_and_notice_of_a_lost_diagnosis_survive_a_kill(chromium: Browser) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    diagnosis = chromium.new_page()
    diagnosis.set_default_timeout(PATIENCE)
    start = diagnosis.locator(".stMain").get_by_role("button", name="Diagnose")
    cancel = diagnosis.get_by_role("button", name="Cancel")
    field = page.get_by_label("Text", exact=True)
    with serving(port) as server:
        page.goto(f"http://127.0.0.1:{port}/?layer=2&head=3")
        expect(page.get_by_text("This head").first).to_be_visible(timeout=PATIENCE)
        field.fill(TYPED)
        field.press("Control+Enter")
        expect(page.get_by_text("L2·H3").first).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("exact to").first).to_be_visible(timeout=PATIENCE)
        diagnosis.goto(f"http://127.0.0.1:{port}/diagnosis?model=gpt-classroom")
        start.click()
        expect(cancel).to_be_visible(timeout=PATIENCE)  # in the middle of a run
        server.send_signal(signal.SIGKILL)
        server.wait()
        for one in (page, diagnosis):
            one.wait_for_selector(".stApp:not([data-test-connection-state=CONNECTED])")
    with serving(port):
        # The server has never seen this text: what it shows comes from the browser.
        expect(page.get_by_text("exact to").first).to_be_visible(timeout=PATIENCE)
        page.wait_for_selector(".stApp[data-test-connection-state=CONNECTED]", state="attached")
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]", state="attached")
        page.wait_for_timeout(1000)
        expect(field).to_have_value(TYPED)
        expect(page.get_by_text("L2·H3").first).to_be_visible()
        assert page.locator(".stException").count() == 0
        expect(diagnosis.get_by_text("its result is lost")).to_be_visible(timeout=PATIENCE)
        start.click()
        expect(cancel).to_be_visible(timeout=PATIENCE)
        expect(diagnosis.get_by_text("its result is lost")).to_have_count(0, timeout=PATIENCE)
        cancel.click()
        expect(start).to_be_visible(timeout=PATIENCE)
        assert diagnosis.locator(".stException").count() == 0
    page.close()
    diagnosis.close()

"""Downloads from a hub on this machine: size, limit, progress, cancellation."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.served import ROOT

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Hub with one model, `org/model`: the files of a folder."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        sent: list[str] = []
        self.sent = sent

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/api/models/org/model"):
                    listed = [
                        {"rfilename": name, "size": len(held), "type": "file", "path": name,
                         "oid": hashlib.sha256(held).hexdigest()[:40]}
                        for name, held in files.items()
                    ]  # fmt: skip
                    content: object = {"id": "org/model", "sha": COMMIT, "siblings": listed}
                    self.send(
                        json.dumps(listed if "/tree/" in path else content).encode(), "", body
                    )
                elif path.startswith("/org/model/resolve/") and path.split("/")[-1] in files:
                    name = path.split("/")[-1]
                    if body:
                        sent.append(name)
                    self.send(files[name], hashlib.sha256(files[name]).hexdigest(), body)
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def send(self, content: bytes, etag: str, body: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{etag}"')
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, format: str, *values: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def hub(gpt_folder: Path) -> Iterator[Hub]:
    """Return a hub whose model also has files that attnviz does not read."""
    files = {path.name: path.read_bytes() for path in gpt_folder.iterdir() if path.is_file()}
    files |= {"pytorch_model.bin": b"x" * 1000, "other.safetensors": b"y" * 1000}
    server = Hub(files)
    yield server
    server.shutdown()
    server.server_close()


def run(hub: Hub, home: Path, code: str) -> str:
    """Run code in a process that has this hub, and return what it prints."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home)}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_size_is_that_of_the_files_that_are_read(
    hub: Hub, tmp_path: Path, gpt_folder: Path
) -> None:
    printed = run(
        hub,
        tmp_path,
        """
        from attnviz.models import download, needed_download
        needed = needed_download("org/model")
        seen = []
        download(needed, lambda came, of: seen.append((came, of)))
        assert seen == sorted(seen) and seen[-1] == (needed.bytes, needed.bytes), seen[-3:]
        assert needed_download("org/model") is None
        import attnviz
        assert attnviz.load("org/model").info.source == "hub"
        print(needed.bytes, *needed.files)
        """,
    )
    size, *files = printed.split()
    read = [path for path in gpt_folder.iterdir() if path.name in files]
    assert int(size) == sum(path.stat().st_size for path in read)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert not {"pytorch_model.bin", "other.safetensors"} & {*files, *hub.sent}


def test_a_cancelled_download_leaves_no_model_and_can_go_on(hub: Hub, tmp_path: Path) -> None:
    printed = run(
        hub,
        tmp_path,
        """
        from attnviz.models import download, needed_download
        needed = needed_download("org/model")
        def stop(came, of):
            if came:
                raise InterruptedError
        try:
            download(needed, stop)
        except InterruptedError:
            print("stopped")
        left = needed_download("org/model")
        print(left.bytes == needed.bytes)
        download(left, lambda came, of: None)
        print(needed_download("org/model"))
        """,
    )
    assert printed.split() == ["stopped", "True", "None"]


def test_a_page_says_the_size_before_it_starts_and_refuses_what_is_too_large(
    hub: Hub, tmp_path: Path
) -> None:
    printed = run(
        hub,
        tmp_path,
        """
        import time
        from streamlit.testing.v1 import AppTest
        from attnviz.ui.server import download_progress
        def opened():
            app = AppTest.from_file("app.py", default_timeout=60)
            app.query_params["model"] = "org/model"
            return app.run()
        download_progress.LARGEST_BYTES = 0
        app = opened()
        print(app.error[0].value, flush=True)
        download_progress.LARGEST_BYTES = 10**7
        app = opened()
        print(app.info[0].value, flush=True)
        app.button(key="download_model").click().run()
        until = time.monotonic() + 60
        while not app.header and time.monotonic() < until:
            time.sleep(0.5)
            app.run()
        print("shown" if app.header else [one.value for one in app.error], flush=True)
        # A proof may still run in a thread: the process ends without waiting for it.
        import os
        os._exit(0)
        """,
    )
    refused, offered, shown = printed.splitlines()
    assert "this server allows 0 bytes" in refused.replace("\\", "")
    assert re.search(r"[\d.]+ kB are downloaded from the hub", offered.replace("\\", ""))
    assert shown == "shown"

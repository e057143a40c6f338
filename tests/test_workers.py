"""nginx before several processes: browsers stay with one, files are found, failures are bridged."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from attnviz.cli.workers import _free_ports, nginx_configuration, run_workers
from attnviz.errors import AttnvizError

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="NO NGINX: its configuration was NOT tested")


class Backend(ThreadingHTTPServer):
    """Stands in for one process of the app: each has another file."""

    daemon_threads = True

    def __init__(self, port: int, number: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = f"{number}".encode()
                missing = self.path.startswith("/media/") and self.path != f"/media/{number}"
                self.send_response(404 if missing else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *values: object) -> None: ...

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Front:
    """nginx with three backends."""

    def __init__(self, folder: Path) -> None:
        self.port, *ports = _free_ports(4)
        self.backends = [Backend(port, number) for number, port in enumerate(ports, 1)]
        file = folder / "nginx.conf"
        file.write_text(nginx_configuration("localhost", self.port, ports, folder), "utf-8")
        command = [str(NGINX), "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
        self.process = subprocess.Popen(command)
        for _ in range(200):
            try:
                self.get("/")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("nginx does not answer")

    def get(self, path: str, cookie: str = "") -> tuple[str, str]:
        """Return the body, and the number in the cookie that was set."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Cookie": f"other=1; attnviz_worker={cookie}"} if cookie else {},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            seat = answer.headers["Set-Cookie"].split(";")[0].partition("=")[2]
            return answer.read().decode(), seat

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        for backend in self.backends:
            backend.shutdown()
            backend.server_close()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    running = Front(tmp_path)
    yield running
    running.close()


@needs_nginx
def test_new_browsers_are_shared_out_and_stay(front: Front) -> None:
    first = [front.get("/") for _ in range(6)]
    assert {body for body, _ in first} == {"1", "2", "3"}
    for body, seat in first:
        assert seat == body
        assert {front.get("/page", seat)[0] for _ in range(3)} == {body}


@needs_nginx
def test_a_file_is_found_whichever_process_has_it(front: Front) -> None:
    for number in ("1", "2", "3"):
        assert front.get(f"/media/{number}")[0] == number
        assert front.get(f"/media/{number}", "2")[0] == number
    with pytest.raises(urllib.error.HTTPError, match="404"):
        front.get("/media/none")


@needs_nginx
def test_browsers_of_a_process_that_ended_go_to_another(front: Front) -> None:
    front.backends[1].shutdown()
    front.backends[1].server_close()
    body, seat = front.get("/", "2")
    assert body == seat != "2"
    assert {front.get("/")[0] for _ in range(6)} == {"1", "3"}


@needs_nginx
@pytest.mark.parametrize("cookie", ["9", "worker_1", "../../x", "1; attnviz_worker=2"])
def test_an_odd_cookie_is_no_error(front: Front, cookie: str) -> None:
    assert front.get("/", cookie)[0] in {"1", "2", "3"}


@needs_nginx
def test_nothing_about_requests_is_written(front: Front, tmp_path: Path) -> None:
    front.get("/?text=a-private-sentence")
    front.backends[0].shutdown()
    front.backends[0].server_close()
    for _ in range(4):
        front.get("/?text=a-private-sentence")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (tmp_path / "nginx.pid") in written
    assert not any(b"private" in path.read_bytes() for path in written)


def test_without_nginx_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(AttnvizError, match="apt install nginx"):
        run_workers(None)  # type: ignore[arg-type]

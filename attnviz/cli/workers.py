"""`attnviz app --workers N`: several processes of the app behind nginx on this machine."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from types import FrameType

from attnviz.cli.screen import say
from attnviz.errors import AttnvizError
from attnviz.whole_files import write_whole
from attnviz.written_numbers import duration

__all__ = ["nginx_configuration", "run_workers"]

START = 180.0
"""Seconds until a process must answer; torch is read from the disk N times at once."""

LOOK = 0.5  # seconds between two looks at the processes
UPLOAD_MB = 6  # a little more than the app itself accepts
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def run_workers(options: argparse.Namespace) -> int:
    """Serve with several processes until stopped; a process that ends is started again.

    Raises:
        AttnvizError: nginx is not installed, the port is taken, or a process does not start.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise AttnvizError(
            "--workers needs nginx to share the visitors between the processes, and found none; "
            "install it (Debian, Ubuntu: apt install nginx-light), or leave --workers out"
        )
    ports = _free_ports(options.workers)
    with tempfile.TemporaryDirectory(prefix="attnviz-") as folder, _processes() as started:
        configuration = Path(folder) / "nginx.conf"
        write_whole(
            configuration, nginx_configuration(options.address, options.port, ports, Path(folder))
        )
        here = {"ATTNVIZ_REPORTS": folder}
        for port in ports:
            started[f"worker on port {port}"] = _start(_worker(port), here)
        for port in ports:
            _wait(port, started[f"worker on port {port}"])
        command = [program, "-p", folder, "-c", str(configuration), "-e", f"{folder}/error.log"]
        started["nginx"] = _start(command, {})
        _wait(options.port, started["nginx"], _host(options.address))
        say(f"{options.workers} processes at http://{options.address}:{options.port}")
        while True:
            time.sleep(LOOK)
            for name, process in list(started.items()):
                if process.poll() is not None:
                    say(f"{name} has ended with status {process.returncode}; it is started again")
                    again = command if name == "nginx" else _worker(int(name.split()[-1]))
                    started[name] = _start(again, here)


def nginx_configuration(address: str, port: int, ports: Sequence[int], folder: Path) -> str:
    """Return nginx's configuration for processes on these ports of this machine.

    Args:
        address: where nginx listens.
        port: where nginx listens.
        ports: of the processes.
        folder: for nginx's own files; it need not run as root.
    """
    numbered = list(enumerate(ports, 1))
    others = {
        number: "".join(
            f"        server 127.0.0.1:{other} max_fails=1 fail_timeout=1s backup;\n"
            for rank, other in numbered
            if rank != number
        )
        for number, _ in numbered
    }
    host = _host(address)
    return Template((Path(__file__).parent / "nginx.conf").read_text("utf-8")).substitute(
        folder=folder,
        upload_mb=UPLOAD_MB,
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        servers="\n".join(
            f"        server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;" for one in ports
        ),
        upstreams="".join(
            f"    upstream worker_{number} {{\n"
            f"        server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;\n{others[number]}    }}\n"
            for number, one in numbered
        ),
        pools="\n".join(f"        {number} worker_{number};" for number, _ in numbered),
        # Where several were tried, the last has answered.
        addresses="\n".join(f'        "~:{one}$" {number};' for number, one in numbered),
    )


def _worker(port: int) -> list[str]:
    command = [sys.executable, "-m", "attnviz", "app", "--headless"]
    return [*command, "--address", "127.0.0.1", "--port", str(port)]


def _start(command: Sequence[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this program and nginx, no word from outside
        command,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, even by `kill -9`."""
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGTERM)


@contextlib.contextmanager
def _processes() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Keep processes by name, and end all of them at the end of the block or on SIGTERM."""
    started: dict[str, subprocess.Popen[bytes]] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield started
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for process in started.values():
            process.terminate()
        for process in started.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
        signal.signal(signal.SIGTERM, before)


def _wait(port: int, process: subprocess.Popen[bytes], host: str = "127.0.0.1") -> None:
    """Wait until a process answers on its port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/_stcore/health"
    until = time.monotonic() + START
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AttnvizError(
                f"the process on port {port} has ended with status {process.returncode} before it "
                "answered; is the port free?"
            )
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AttnvizError(f"the process on port {port} did not answer within {duration(START)}")


def _host(address: str) -> str:
    return "127.0.0.1" if address == "localhost" else address


def _free_ports(count: int) -> list[int]:
    """Return ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports

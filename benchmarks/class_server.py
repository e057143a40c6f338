"""App as a class uses it, started for a benchmark, with its processor time and memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "class_server"]

ROOT = Path(__file__).parents[1]
START = 300.0  # seconds until the server must answer
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Running server: its address, and the processor time and memory of its processes.

    Attributes:
        address: host and port.
        pid: process id of the command; its children count too.
    """

    address: str
    pid: int

    def megabytes(self) -> int:
        """Return the memory of all processes; pages that several share count once."""
        return sum(_proportional(pid) for pid in self._pids()) // 1024

    def processor_seconds(self) -> float:
        """Return the processor time of all processes since they were started."""
        return sum(_ticks(pid) for pid in self._pids()) / TICKS

    def _pids(self) -> list[int]:
        pids, fresh = [], [self.pid]
        while fresh:
            pid = fresh.pop()
            pids.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                fresh += [int(child) for child in children.read_text().split()]
        return pids


def _proportional(pid: int) -> int:
    """Return the kilobytes of a process with its share of shared pages; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _ticks(pid: int) -> int:
    """Return the clock ticks of a process, those in the kernel included; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


@contextmanager
def class_server(workers: int = 1, arguments: Sequence[str] = ()) -> Iterator[Usage]:
    """Serve the app on a free port of this machine, and yield once it answers.

    Args:
        workers: processes that share the visitors.
        arguments: further arguments of `attnviz app`.

    Raises:
        RuntimeError: the server ended, or did not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "attnviz", "app", "--headless", "--address", "127.0.0.1"]
    command += ["--port", str(port), *arguments]
    if workers > 1:
        command += ["--workers", str(workers)]
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        _wait(server, f"http://127.0.0.1:{port}/_stcore/health")
        yield Usage(f"127.0.0.1:{port}", server.pid)
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(server: subprocess.Popen[bytes], health: str) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(health, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the app does not answer at {health}")

"""Server on this machine for the time of a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE = 60  # seconds


@contextmanager
def served(
    arguments: Callable[[str], list[str]],
    log: Path,
    patience: float = PATIENCE,
    *,
    program: Sequence[str] = (sys.executable, "-m"),
    folder: Path = ROOT,
    search: Path | None = ROOT,
) -> Iterator[str]:
    """Run `python -m ...` as a server on a free port, and yield its address once it answers.

    Args:
        arguments: returns the arguments of the program for a port.
        log: the file that gets everything the server prints.
        patience: seconds until it must answer.
        program: the program, with its first arguments.
        folder: the folder in which it runs.
        search: the folder in which Python looks for packages first; None for no such folder.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*program, *arguments(port)],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(search or "")},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, log, patience)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def script(path: str) -> Callable[[str], list[str]]:
    """Return the arguments that serve one Streamlit script by itself."""
    return lambda port: [
        *("streamlit", "run", path, "--server.headless", "true"),
        *("--server.port", port, "--server.address", "127.0.0.1"),
    ]


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")

"""Memory of a process, as the operating system counts it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["GIVES_BACK", "HIGHEST", "NOW", "forget_highest", "megabytes"]

NOW, HIGHEST = "VmRSS", "VmHWM"

GIVES_BACK = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=262144"}
"""Environment in which large pieces go back to the system when they are freed. Without it a process
keeps some hundreds of megabytes in case they are wanted again, in one run more and in another
less. It must be set before a process begins."""


def megabytes(what: str = NOW, process: int | str = "self") -> float:
    """Return the MB that a process uses now, or the most since `forget_highest`."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{process}/status has no {what}; this needs Linux")


def forget_highest() -> None:
    """Reset the high-water mark of this process to the present use."""
    Path("/proc/self/clear_refs").write_text("5")

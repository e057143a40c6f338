"""Free memory of the device that a model is to be put on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

__all__ = ["free_bytes"]

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes that a device has free; None where the system does not tell.

    For a processor that is the memory available to new work, within the limit of the container.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    amounts = [one for one in (_available(), _left_in_container()) if one is not None]
    return min(amounts) if amounts else None


def _available() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not Linux: all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_in_container() -> int | None:
    """Return the memory left in this process's control group; files it has read can be let go."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        limit = int((GROUP / "memory.max").read_text())
        taken = int((GROUP / "memory.current").read_text())
        for line in (GROUP / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                taken -= int(line.split()[1])
        return max(limit - taken, 0)
    return None

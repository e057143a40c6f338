"""Load of this server: people, requests that wait, memory; of every process, without texts.

With several processes each writes its report to a folder that all share, because a page is shown by
one of them. The folder is named by ATTNVIZ_REPORTS, which `attnviz app --workers` sets.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from attnviz.ui.jobs import proofs
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.server.run_places import LOADS, LONG, SHORT
from attnviz.ui.server.visitors import people
from attnviz.whole_files import write_whole

__all__ = ["Report", "publish", "report", "reports"]

EVERY = 2.0
"""Seconds between two reports of a process."""

FRESH = 10.0
"""Seconds after which the report of a process counts as that of one that has ended."""


@dataclass(frozen=True)
class Report:
    """Load of one process.

    Attributes:
        process: its id.
        time: seconds since 1970 at which this was measured.
        people: open pages.
        running: script runs that compute.
        waiting: script runs that wait for a place.
        long: long texts that are read or wait.
        loading: models that are loaded or wait.
        diagnoses: diagnoses that run or wait.
        proofs: proofs that run or wait.
        megabytes: memory of the process.
    """

    process: int
    time: float
    people: int
    running: int
    waiting: int
    long: int
    loading: int
    diagnoses: int
    proofs: int
    megabytes: int


def report() -> Report:
    """Return the load of this process now."""
    return Report(
        process=os.getpid(),
        time=time.time(),
        people=people(),
        running=SHORT.running,
        waiting=SHORT.waiting,
        long=LONG.running + LONG.waiting,
        loading=LOADS.running + LOADS.waiting,
        diagnoses=long_jobs().unfinished,
        proofs=proofs.unfinished(),
        megabytes=_megabytes(),
    )


def reports() -> list[Report]:
    """Return the reports of all processes of this server, this one's first."""
    this = report()
    known = [this]
    folder = _folder()
    for path in sorted(folder.glob("report-*.json")) if folder else []:
        try:
            other = Report(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # its process has just ended
        if other.process != this.process and time.time() - other.time < FRESH:
            known.append(other)
    return known


def publish() -> None:
    """Write this process's report for the others every two seconds, from now on."""
    folder = _folder()
    if folder is not None:
        thread = threading.Thread(target=_write, args=(folder,), name="reports", daemon=True)
        thread.start()


def _write(folder: Path) -> None:
    path = folder / f"report-{os.getpid()}.json"
    while folder.is_dir():
        write_whole(path, json.dumps(asdict(report())))
        time.sleep(EVERY)


def _folder() -> Path | None:
    named = os.environ.get("ATTNVIZ_REPORTS")
    return Path(named) if named else None


def _megabytes() -> int:
    """Return the memory that this process holds; its highest where the system says no more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 10**6
    return pages * resource.getpagesize() // 10**6

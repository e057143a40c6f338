"""Proofs in the background: one at a time, after the picture, shared by equal requests.

A page shows its picture first; the comparison with the library's own attention follows when no run
computes, or after a short while in any case. A proof that no open page needs any more is left out.
"""

from __future__ import annotations

from collections.abc import Callable

from attnviz.findings import Progress
from attnviz.types import Proof
from attnviz.ui.jobs.background_jobs import Job, Jobs
from attnviz.ui.server.run_places import give_way
from attnviz.ui.server.visitors import connected, session
from attnviz.ui.session.model_cache import Request, proved

__all__ = ["Found", "next_look", "proof_of", "unfinished"]

Found = tuple[Proof, int | None]
"""A proof, and on how many tokens if not on all; as `caches.proved` returns it."""

LONGEST_DELAY = 2.0
"""Seconds that a proof waits for runs before it runs beside them."""

# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose what runs.
_JOBS: Jobs[Found] = Jobs(1, entries=256, connected=connected)


def proof_of(request: Request) -> Job[Found]:
    """Return the job that proves a request, started if there is none; for this script run's page.

    A page that shows another request by now no longer needs the proof of the earlier one.
    """
    return _JOBS.start(request, lambda report: _prove(request, report), session())


def unfinished() -> int:
    """Return the number of proofs that run or wait."""
    return _JOBS.unfinished


def next_look(job: Job[Found]) -> float:
    """Return the seconds after which the page looks again: more when others are before it."""
    return min(0.4 + 0.1 * _JOBS.ahead(job), 5.0)


def _prove(request: Request, report: Callable[[Progress], None]) -> Found:
    give_way(LONGEST_DELAY)
    report(Progress("Comparing with the library", 0.0, 0.0))
    return proved(request)

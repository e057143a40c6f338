"""Form of a long job that folds to one line when its result is there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.session.plain_text import plain

__all__ = ["FoldingForm"]


@dataclass(frozen=True)
class FoldingForm:
    """Form of a page.

    The expander is drawn before the choices in it are known: it follows the choices of the last
    run, which are kept in the session, and the page is drawn again when they have changed.

    Attributes:
        key: under which the session keeps the choices of the last run.
        subject: name of the model, or of what else the form is about.
        open_title: heading of the open form.
    """

    key: str
    subject: str
    open_title: str

    @property
    def folded(self) -> bool:
        """Return whether the last choices have a result."""
        last = st.session_state.get(self.key)
        if last is None or last[0] != self.subject:
            return False
        job = long_jobs().find(last[1])
        return job is not None and job.status == "done"

    def expander(self) -> DeltaGenerator:
        """Return the place of the choices; folded, its heading names what was measured."""
        if not self.folded:
            return st.expander(plain(self.open_title), expanded=True)
        title = f"{self.subject} · {st.session_state[self.key][2]} · change"
        return st.expander(plain(title), expanded=False)

    def keep(self, job: Hashable | None, title: str, *, done: bool) -> None:
        """Keep the choices of this run.

        Args:
            job: key of the job; None if the choices are not complete.
            title: names the choices in a few words.
            done: the job has a result; the page is drawn again if the form is still open.
        """
        if job is None:
            st.session_state.pop(self.key, None)
            return
        was_folded = self.folded
        st.session_state[self.key] = (self.subject, job, title)
        if done and not was_folded:
            st.rerun()

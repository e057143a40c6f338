"""The thresholds as sliders, each with its meaning and source, and what moving them changes."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from attnviz.doctor import THRESHOLDS, Diagnosis, Limit, Thresholds
from attnviz.findings import LABEL_MEANINGS
from attnviz.ui.session.plain_text import plain

__all__ = ["choose_limits", "consequences", "limits"]

STEPS = (0.0005, 0.001, 0.005, 0.01)
FINEST = 200  # steps of a slider


def choose_limits() -> None:
    """The sliders, grouped by the label that they decide; `limits` says where they stand."""
    st.markdown(
        "A label is a rule with a limit. Move a limit, and every label is found anew from the same "
        "measurements. A head that changes its name at the smallest push is a close call."
    )
    st.button(
        "Reset all",
        icon=":material/restart_alt:",
        on_click=_reset,
        help="Puts every limit back to where it stands in attnviz.",
    )
    groups = [(label, list(members)) for label, members in groupby(THRESHOLDS.values(), _label)]
    for start in range(0, len(groups), 2):
        columns = st.columns(2, gap="medium")
        for column, (label, members) in zip(columns, groups[start : start + 2], strict=False):
            with column:
                st.markdown(f"**{label.capitalize()}**")
                for limit in members:
                    _slider(limit)


def limits() -> Thresholds:
    """Where the sliders stand; as attnviz has them before they are drawn."""
    return Thresholds(
        **{
            name: float(st.session_state.get(_key(limit), limit.default))
            for name, limit in THRESHOLDS.items()
        }
    )


def consequences(before: Diagnosis, after: Diagnosis) -> None:
    """Which heads are called something else now."""
    changed = [
        (old, new)
        for old, new in zip(before.findings, after.findings, strict=True)
        if old.name != new.name
    ]
    if not changed:
        st.info("No label has changed.", icon=":material/info:")
        return
    heads = "1 head is" if len(changed) == 1 else f"{len(changed)} heads are"
    st.info(
        f"{heads} called something else now: "
        + "; ".join(
            f"{new.head.label} was {plain(old.name)}, is {plain(new.name)}"
            for old, new in changed[:8]
        )
        + (f"; and {len(changed) - 8} more." if len(changed) > 8 else "."),
        icon=":material/compare_arrows:",
    )


def _label(limit: Limit) -> str:
    return limit.of or "what removing a head says"


def _key(limit: Limit) -> str:
    return f"limit:{limit.name}"


def _slider(limit: Limit) -> None:
    key = _key(limit)
    st.session_state.setdefault(key, limit.default)
    wide = (limit.highest - limit.lowest) / FINEST
    step = next((one for one in STEPS if one >= wide - 1e-9), STEPS[-1])
    st.slider(
        f"{limit.label}{f' ({limit.unit})' if limit.unit else ''}",
        limit.lowest,
        limit.highest,
        step=step,
        format="%.4f" if step < 0.001 else "%.3f" if step < 0.01 else "%.2f",
        key=key,
        persist_state="session",
        help=_meaning(limit),
    )
    st.caption(f"{plain(limit.meaning)} *{plain(limit.source)}.*")


def _meaning(limit: Limit) -> str:
    said = f"attnviz has it at {limit.default:g}."
    return (
        said if limit.of is None else f"{limit.of.capitalize()}: {LABEL_MEANINGS[limit.of]} {said}"
    )


def _reset() -> None:
    for limit in THRESHOLDS.values():
        st.session_state[_key(limit)] = limit.default

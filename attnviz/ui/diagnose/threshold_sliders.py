"""Sliders for the thresholds, with meaning and source, and the changes that moving them makes."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from attnviz.doctor import THRESHOLDS, Diagnosis, Limit, Thresholds
from attnviz.findings import LABEL_MEANINGS
from attnviz.sentences import sentence
from attnviz.ui.components.choices import choice
from attnviz.ui.session.plain_text import plain

__all__ = ["choose_limits", "close_calls", "consequences", "limits"]

STEPS = (0.0005, 0.001, 0.005, 0.01)
FINEST = 200  # steps of a slider


def choose_limits() -> None:
    """Show the sliders of one label at a time; `limits` returns where they stand."""
    st.caption(
        "A label is a rule with limits. Move a limit, and all labels follow; nothing is measured "
        "again."
    )
    groups = {label: list(members) for label, members in groupby(sorted_limits(), key=_label)}
    chosen = choice(
        "Limits of the label",
        {label: label.capitalize() for label in groups},
        "limits_of",
        shape="menu",
    )
    for limit in groups[chosen]:
        _slider(limit)
    for label, members in groups.items():  # sliders of other labels stay where they are
        if label != chosen:
            for limit in members:
                st.session_state[_key(limit)] = st.session_state.get(_key(limit), limit.default)
    st.button(
        "Reset all",
        icon=":material/restart_alt:",
        on_click=_reset,
        help="Puts every limit back to its default.",
    )


def sorted_limits() -> list[Limit]:
    """Return all limits, those of one label beside each other."""
    labels = list(dict.fromkeys(_label(limit) for limit in THRESHOLDS.values()))
    return sorted(THRESHOLDS.values(), key=lambda limit: labels.index(_label(limit)))


def close_calls(diagnosis: Diagnosis) -> list[str]:
    """Return a sentence for each label that a head has, or misses, by less than the interval."""
    return [
        f"{one.head.label} ({one.name}): {said}"
        for one in diagnosis.findings
        for said in one.close_calls
    ]


def limits() -> Thresholds:
    """Return where the sliders stand; as attnviz has them before they are drawn."""
    return Thresholds(
        **{
            name: float(st.session_state.get(_key(limit), limit.default))
            for name, limit in THRESHOLDS.items()
        }
    )


def consequences(before: Diagnosis, after: Diagnosis) -> None:
    """Show the heads whose label has changed."""
    changed = [
        (old, new)
        for old, new in zip(before.findings, after.findings, strict=True)
        if old.name != new.name
    ]
    if not changed:
        moved = before.thresholds != after.thresholds
        said = "No label has changed." if moved else "All limits are at their defaults."
        st.info(said, icon=":material/info:")
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
    st.caption(f"{plain(limit.meaning)} *{plain(sentence(limit.source))}*")


def _meaning(limit: Limit) -> str:
    said = f"attnviz has it at {limit.default:g}."
    return (
        said if limit.of is None else f"{limit.of.capitalize()}: {LABEL_MEANINGS[limit.of]} {said}"
    )


def _reset() -> None:
    for limit in THRESHOLDS.values():
        st.session_state[_key(limit)] = limit.default

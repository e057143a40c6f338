"""A diagnosis in a few sentences: how many heads look degenerate, and how many of them matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attnviz.findings import Finding

__all__ = ["diagnosis_sentences", "head_count"]

SHOWN = 6  # heads that are named one by one


def diagnosis_sentences(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what was found, most important first.

    A head looks degenerate when its label says so; it matters when removing it costs something
    for sure.
    """
    suspects = [one for one in findings if one.degenerate]
    tested = any(one.ablation for one in findings)
    if not suspects:
        said = [f"None of the {head_count(len(findings))} looks degenerate."]
    else:
        counts = Counter(one.name if one.label == "sink" else one.label for one in suspects)
        listed = _listed([f"{count} {name}" for name, count in counts.items()])
        said = [f"{_number(len(suspects), len(findings))} degenerate: {listed}."]
        if tested:
            said += _verdicts(suspects)
    if not tested:
        said.append("Nothing was removed: labels rest on what heads look at alone.")
    working = Counter(one.detail for one in findings if one.label == "specialised")
    if working:
        kinds = _listed([f"{count} {_plain(detail)}" for detail, count in working.most_common()])
        does = "follows a known pattern" if working.total() == 1 else "follow a known pattern"
        said.append(f"{head_count(working.total())} {does}: {kinds}.")
    return tuple(said)


def head_count(number: int) -> str:
    """Return "1 head", "2 heads"."""
    return "1 head" if number == 1 else f"{number} heads"


def _verdicts(suspects: Sequence[Finding]) -> list[str]:
    """Return what removing the suspects has shown; of a head that computes NaN it shows nothing."""
    suspects = [one for one in suspects if one.label != "non-finite"]
    if not suspects:
        return []
    alone = len(suspects) == 1
    matter = [one for one in suspects if one.verdict == "contradicted"]
    sure = sum(one.verdict == "confirmed" for one in suspects)
    unsure = sum(one.verdict == "open" for one in suspects)
    said = []
    if matter:
        who = "It matters" if alone else f"{len(matter)} of them matter{'s' * (len(matter) == 1)}"
        named = [one.head.label for one in matter[:SHOWN]]
        if len(matter) > SHOWN:
            named.append(f"{len(matter) - SHOWN} more")
        said.append(f"{who} all the same: removing {_listed(named)} makes the model worse.")
    elif not alone:
        said.append("None of them is known to matter.")
    if sure:
        which = "It is" if alone else f"{sure} {'is' if sure == 1 else 'are'}"
        said.append(f"{which} confirmed by removing {_them(sure)}: nothing is lost.")
    if unsure:
        which = "it" if alone else f"{unsure} of them"
        said.append(f"For {which} the texts do not tell whether anything is lost.")
    return said


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _number(some: int, of: int) -> str:
    return f"{some} of {head_count(of)} {'looks' if some == 1 else 'look'}"


def _plain(detail: str) -> str:
    return detail or "unnamed"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

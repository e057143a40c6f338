"""Findings for a terminal: a summary in plain lines, and the names of labels a person types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnviz.doctor.labels.number_words import joined
from attnviz.errors import InputError
from attnviz.findings import LABELS, Finding, Label, Verdict

__all__ = ["KINDS", "Named", "named", "summary"]

KINDS: Mapping[Label, tuple[str, ...]] = {
    "peaked": ("own token", "same key"),
    "sink": ("resting", "working", "broken", "undecided", "not tested"),
    "specialised": (),
}
"""Labels that have kinds, and which; of specialists there are too many to list. The detail of
another label differs from head to head."""

CLOSE = 12  # close calls that are listed


@dataclass(frozen=True)
class Named:
    """Label as it is typed.

    Attributes:
        label: the label.
        detail: which kind of it; all kinds if empty.
    """

    label: Label
    detail: str = ""

    def fits(self, finding: Finding) -> bool:
        """Return True if this is the label of a finding; `Finding.also` does not count."""
        return finding.label == self.label and self.detail in ("", finding.detail.lower())


def named(names: str) -> tuple[Named, ...]:
    """Return the labels of a text such as "uniform, sink:broken"; none for an empty text.

    Raises:
        InputError: a name that is no label, or a detail that no head of that label could have.
    """
    return tuple(_named(name.strip().lower()) for name in names.split(",") if name.strip())


def _named(name: str) -> Named:
    word, _, detail = (part.strip() for part in name.partition(":"))
    label = next((one for one in LABELS if one == word), None)
    if label is None:
        raise InputError(f"no head is called '{word}'; the labels are {joined(LABELS)}")
    kinds = KINDS.get(label)
    if detail and kinds is None:
        raise InputError(f"'{label}' has no kinds that could be named: write {label} alone")
    if detail and kinds and detail not in kinds:
        raise InputError(f"no {label} head is called '{detail}'; the kinds are {joined(kinds)}")
    return Named(label, detail)


def summary(findings: Sequence[Finding], notes: Sequence[str], groups: Sequence[str] = ()) -> str:
    """Return the headline, the number of heads per label and verdict, and the heads to look at.

    Args:
        findings: of all heads.
        notes: what a reader has to know.
        groups: groups of heads that do the same, in words.
    """
    from attnviz.views.report.removal_lists import kept_sentence, removal_lists  # loads plotly
    from attnviz.views.report.summary_sentences import diagnosis_sentences

    needed = [one for one in findings if one.contradicted]
    harmful = [one for one in findings if one.verdict is Verdict.BETTER_WITHOUT]
    others = [one for one in findings if one.degenerate and one not in needed + harmful]
    lines = [*diagnosis_sentences(findings), "", *_counts(findings)]
    lines += _section("Look degenerate", others)
    lines += _section("Look degenerate but are needed", needed)
    lines += _section("Better without", harmful)
    lists = [f"{title} {names}" for title, names in removal_lists(findings)]
    lines += _listed("What removing heads showed (change of the loss, nats per token)", lists)
    lines += _listed("Heads that do the same", [*filter(None, (kept_sentence(findings),)), *groups])
    close = [
        f"{one.head.label} ({one.name}): {said}" for one in findings for said in one.close_calls
    ]
    lines += _listed("Close calls: other texts could change these labels", close, most=CLOSE)
    if notes:
        lines += ["", "Notes", *(f"  {note}" for note in notes)]
    return "\n".join(lines)


def _listed(title: str, items: Sequence[str], most: int | None = None) -> list[str]:
    """Return a title with a line per item; nothing without items."""
    if not items:
        return []
    more = [] if most is None or len(items) <= most else [f"  and {len(items) - most} more"]
    return ["", title, *(f"  {item}" for item in items[:most]), *more]


def _counts(findings: Sequence[Finding]) -> Iterator[str]:
    wide = max(map(len, (*LABELS, *Verdict)))
    for label in LABELS:
        details = Counter(one.detail for one in findings if one.label == label)
        number = details.total()
        kinds = ", ".join(f"{detail} {count}" for detail, count in details.most_common() if detail)
        shown = f"   {kinds}" if kinds and label in KINDS else ""
        yield f"  {label:{wide}}  {number:4}{shown}"
    yield ""
    for verdict in Verdict:
        yield f"  {verdict:{wide}}  {sum(one.verdict is verdict for one in findings):4}"


def _section(title: str, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    lines = ["", title]
    for one in findings:
        lines += [f"  {one.head.label}  {one.name}", *(f"    {said}" for said in one.sentences)]
    return lines

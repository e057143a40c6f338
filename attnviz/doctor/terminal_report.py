"""Findings for a terminal: a summary in plain lines, and the names of labels a person types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from attnviz.doctor.comparison import Comparison
from attnviz.errors import InputError
from attnviz.findings import LABELS, Finding, Label, Verdict
from attnviz.removals import heads_to_look_at
from attnviz.sentences import sentence
from attnviz.word_lists import joined
from attnviz.written_numbers import decimals

__all__ = ["KINDS", "Named", "comparison_summary", "named", "summary"]

KINDS: Mapping[Label, tuple[str, ...]] = {
    "peaked": ("own token", "same key"),
    "sink": ("resting", "working", "broken", "undecided", "not tested"),
    "specialised": (),
}
"""Labels that have kinds, and which; of specialists there are too many to list. The detail of
another label differs from head to head."""

USELESS = "useless"
"""Name of the heads that look degenerate and make no difference, neither alone nor together."""

CLOSE = 12  # close calls that are listed
FURTHEST = 10  # heads that moved, listed
WIDTH = 98  # of a line of heads


@dataclass(frozen=True)
class Named:
    """Label, verdict or "useless" as it is typed.

    Attributes:
        word: the name.
        detail: which kind of a label; all kinds if empty.
    """

    word: str
    detail: str = ""

    @property
    def needs_removals(self) -> bool:
        """Return True for a verdict that only the removal of heads can give."""
        return self.word in {USELESS, *Verdict} - {Verdict.NOT_TESTED}

    def fits(self, finding: Finding) -> bool:
        """Return True if this is the label or verdict of a finding, or if it is useless.

        `Finding.also` does not count.
        """
        if self.word == USELESS:
            return finding.useless
        if self.word in set(Verdict):
            return finding.verdict == self.word
        return finding.label == self.word and self.detail in ("", finding.detail.lower())


def named(names: str) -> tuple[Named, ...]:
    """Return the labels and verdicts of a text such as "uniform, sink:broken, better-without".

    None for an empty text.

    Raises:
        InputError: a name that is no label or verdict, or a detail that no head of that label
            could have.
    """
    return tuple(_named(name.strip().lower()) for name in names.split(",") if name.strip())


def _named(name: str) -> Named:
    word, _, detail = (part.strip() for part in name.partition(":"))
    verdict = word.replace("-", " ")
    if verdict in {USELESS, *Verdict} and not detail:
        return Named(verdict)
    if word not in LABELS:
        verdicts = [one.replace(" ", "-") for one in (USELESS, *Verdict)]
        raise InputError(
            f"no head is called '{word}'; the labels are {joined(LABELS)}, and the verdicts "
            f"{joined(verdicts)}"
        )
    kinds = KINDS.get(next(one for one in LABELS if one == word))
    if detail and kinds is None:
        raise InputError(f"'{word}' has no kinds that could be named: write {word} alone")
    if detail and kinds and detail not in kinds:
        raise InputError(f"no {word} head is called '{detail}'; the kinds are {joined(kinds)}")
    return Named(word, detail)


def summary(
    findings: Sequence[Finding],
    notes: Sequence[str],
    groups: Sequence[str] = (),
    pruning: str = "",
    broken: Sequence[str] = (),
) -> str:
    """Return the headline, the number of heads per label and verdict, and the heads to look at.

    Args:
        findings: of all heads.
        notes: what a reader has to know.
        groups: groups of heads that do the same, in words.
        pruning: cost of removing all heads of the list for pruning, in words.
        broken: sentences on NaN and infinity, which come first.
    """
    from attnviz.views.report.removal_lists import kept_sentence, removal_lists  # loads plotly
    from attnviz.views.report.summary_sentences import diagnosis_sentences

    lines = list(map(sentence, broken))
    lines += [""] if lines else []
    lines += [*diagnosis_sentences(findings), "", *_counts(findings)]
    for title, heads in heads_to_look_at(findings):
        lines += _section(title, heads)
    lists = [f"{title} {names}" for title, names in removal_lists(findings)]
    lists += [pruning] if lists and pruning else []
    lines += _listed("What removing heads showed (change of the loss, nats per token)", lists)
    lines += _listed("Heads that do the same", [*filter(None, (kept_sentence(findings),)), *groups])
    close = [
        f"{one.head.label} ({one.name}): {said}" for one in findings for said in one.close_calls
    ]
    lines += _listed("Close calls: other texts could change these labels", close, most=CLOSE)
    notes = [one for one in notes if one not in broken]
    if notes:
        lines += ["", "Notes", *(f"  {note}" for note in notes)]
    return "\n".join(lines)


def comparison_summary(comparison: Comparison) -> str:
    """Return the losses, the headline, every changed label, and the heads that moved furthest."""
    pairs = zip(comparison.first.findings, comparison.second.findings, strict=True)
    ordered = sorted(pairs, key=lambda pair: -comparison.moved(pair[0].head))
    moved = [
        f"{before.head.label}  {decimals(comparison.moved(before.head), 3)} "
        f"({before.name} before, {after.name} after)"
        for before, after in ordered[:FURTHEST]
    ]
    changed = [one.sentence for one in comparison.by_weight]
    more = [one for one in comparison.sentences if one.startswith("And ")]
    lines = [one for one in comparison.sentences if one not in changed + more]
    lines += _listed("Changed labels", changed)
    lines += _listed("Close calls", [one.sentence for one in comparison.close_changes], most=CLOSE)
    lines += _listed("Moved furthest (divergence of the rows, nats)", moved)
    lines += _listed("Notes", comparison.notes)
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
    """Return the heads of a section with their evidence; equal evidence in a row stands once."""
    lines = ["", title]
    for (name, sentences), alike in groupby(findings, lambda one: (one.name, one.sentences)):
        labels = ", ".join(one.head.label for one in alike)
        lines += [f"  {line}" for line in wrap(f"{labels}  {name}", WIDTH)]
        lines += [f"    {said}" for said in sentences]
    return lines

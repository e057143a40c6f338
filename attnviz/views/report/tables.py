"""Tables of a report, as HTML with every string escaped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from attnviz.findings import LABEL_MEANINGS, LABELS, Finding, Interval
from attnviz.removals import by_surprise, heads_to_look_at
from attnviz.sentences import sentence
from attnviz.types import KIND_LABELS, Head
from attnviz.views.diagnosis.label_colors import cell_lines
from attnviz.views.report.plain_values import interval_of
from attnviz.written_numbers import decimals, duration, nats

__all__ = [
    "anchor",
    "broken_lines",
    "cases",
    "filtered_table",
    "head_table",
    "interval_text",
    "label_chip",
    "label_legend",
    "label_table",
    "limits_table",
    "notes_list",
    "number_cell",
    "origin",
]

WIDE = 20  # heads or layers from which on cells hold one letter

COLUMNS = {
    "importance": "Importance",
    "normalized_entropy": "Entropy",
    "sink_first": "Weight on first",
    "content_dependence": "Depends on text",
}
"""Measures that the table shows beside the cost."""


def label_table(findings: Sequence[Finding], *, several: bool) -> str:
    """Return the map of one kind of attention: a row per layer, a link in every cell."""
    at = {(one.head.layer, one.head.head): one for one in findings}
    layers = max(layer for layer, _ in at) + 1
    heads = max(head for _, head in at) + 1
    small = max(layers, heads) > WIDE
    kind = findings[0].head.kind
    top = "".join(f"<th scope='col'>H{head}</th>" for head in range(heads))
    rows = "".join(
        f"<tr><th scope='row'>L{layer}</th>"
        + "".join(_cell(at.get((layer, head)), small) for head in range(heads))
        + "</tr>"
        for layer in range(layers)
    )
    title = f"<h3>{escape(KIND_LABELS[kind].capitalize())}</h3>" if several else ""
    size = " small" if small else ""
    return (
        f'{title}<div class="wide"><table class="map{size}"><thead><tr><th></th>{top}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(one: Finding | None, small: bool) -> str:
    if one is None:
        return "<td></td>"
    mark = "<br>".join(map(escape, cell_lines(one, 1 if small else 6)))
    disputed = " disputed" if one.contradicted else ""
    said = escape(f"{one.head.label}: {one.name}", quote=True)
    return (
        f'<td class="{one.label}{disputed}"><a href="#{anchor(one.head)}" title="{said}" '
        f'aria-label="{said}">{mark}</a></td>'
    )


def anchor(head: Head) -> str:
    """Return the name of a head's row."""
    return f"head-{head.kind}-{head.layer}-{head.head}"


def label_legend(findings: Sequence[Finding]) -> str:
    """Return what the labels mean, and how many heads have each."""
    counts = Counter(one.label for one in findings)
    items = "".join(
        f'<li><span class="chip {label}">{label} {counts[label]}</span> '
        f"{escape(LABEL_MEANINGS[label])}</li>"
        for label in LABELS
        if counts[label]
    )
    return f'<ul class="legend">{items}</ul>'


def cases(findings: Sequence[Finding]) -> list[str]:
    """Return the heads to look at (`heads_to_look_at`), in sentences."""
    lines = []
    for title, heads in heads_to_look_at(findings):
        lines += [f"<h2>{title}</h2>", *map(_case, heads)]
    return lines


def _case(one: Finding) -> str:
    said = " ".join(map(escape, one.sentences))
    return (
        f'<div class="case"><h3><a href="#{anchor(one.head)}">{escape(one.head.label)}</a> '
        f"{label_chip(one)} {one.verdict}</h3><p>{said}</p>{_evidence(one)}</div>"
    )


def label_chip(one: Finding) -> str:
    """Return the name of a label in its colour."""
    disputed = " disputed" if one.contradicted else ""
    return f'<span class="chip {one.label}{disputed}">{escape(one.name)}</span>'


def _evidence(one: Finding) -> str:
    if not one.evidence:
        return ""
    lines = "; ".join(
        f"{escape(each.label)} {interval_text(each.value)}{_unit(each.unit)}, "
        f"required: {escape(each.requirement)}"
        for each in one.evidence
    )
    return f'<p class="muted">{lines}.</p>'


def head_table(findings: Sequence[Finding], plain: Mapping[str, Any]) -> str:
    """Return the table of all heads, the most surprising first; its script sorts and filters."""
    names = ("Head", "Label", "Verdict", "Cost of removing", *COLUMNS.values(), "In words")
    row_of = {
        one.head: _row(one, numbers["numbers"], number)
        for number, (one, numbers) in enumerate(zip(findings, plain["heads"], strict=True))
    }
    rows = [row_of[one.head] for one in by_surprise(findings)]
    return filtered_table(names, rows, findings) + (
        '<p class="muted">The most surprising heads come first: NaN or infinity, labels that the '
        "removal contradicts, heads that are better removed, then degenerate ones. The heading "
        "Head sorts by layer and head.</p>"
        '<p class="muted">Cost of removing: the change of the loss in nats per token, with its 95% '
        "interval. Importance: how much the loss depends on the head, by its gradient (Michel et "
        "al. 2019), nats. Entropy: 0 looks at one key, 1 spreads evenly. Depends on text: how much "
        "the text decides where it looks, nats.</p>"
    )


def filtered_table(names: Sequence[str], rows: Sequence[str], findings: Sequence[Finding]) -> str:
    """Return the page's table of heads, with a search field and a menu of labels above it.

    Args:
        names: headings, plain text.
        rows: `<tr>` elements with the label of the head in `data-label`.
        findings: the findings whose labels the menu has.
    """
    present = [label for label in LABELS if any(one.label == label for one in findings)]
    options = "".join(f"<option>{label}</option>" for label in present)
    headings = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in names
    )
    return (
        '<div class="tools"><input id="search" type="search" placeholder="Search" '
        'aria-label="Search the table"><select id="label" aria-label="Only this label">'
        f'<option value="">All labels</option>{options}</select>'
        '<span id="count" class="muted" role="status"></span></div>'
        f'<div class="wide"><table class="grid" id="heads"><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(one: Finding, numbers: Mapping[str, Any], number: int) -> str:
    cost = one.removal
    cells = [
        f'<td data-value="{number}">{escape(one.head.label)}</td>',
        f"<td>{label_chip(one)}</td>",
        f"<td>{one.verdict}</td>",
        number_cell(cost, interval_text(cost) if cost is not None else ""),
    ]
    for name in COLUMNS:
        value = interval_of(numbers[name]) if name in numbers else None
        cells.append(number_cell(value, "" if value is None else decimals(value.mean, 3)))
    first, *rest = [escape(sentence) for sentence in one.sentences] or [""]
    more = "".join(f"<p>{sentence}</p>" for sentence in rest) + _evidence(one)
    said = f"<details><summary>{first}</summary>{more}</details>" if more else first
    return (
        f'<tr id="{anchor(one.head)}" data-label="{one.label}">{"".join(cells)}<td>{said}</td></tr>'
    )


def number_cell(value: Interval | None, shown: str) -> str:
    """Return a cell that sorts by the mean and shows a text; empty without a number."""
    known = value is not None and not math.isnan(value.mean)
    given = f"{float(value.mean)}" if value is not None and known else ""
    return f'<td class="number" data-value="{given}">{escape(shown) if known else ""}</td>'


def interval_text(value: Interval) -> str:
    """Return the mean with its interval, if it has one: "0.120 (0.101 to 0.139)"."""
    if math.isnan(value.low):
        return decimals(value.mean, 3)
    return f"{decimals(value.mean, 3)} ({decimals(value.low, 3)} to {decimals(value.high, 3)})"


def _unit(unit: str) -> str:
    return f" {escape(unit)}" if unit else ""


def limits_table(plain: Mapping[str, Any]) -> str:
    """Return every threshold with its value, meaning and source."""
    rows = []
    for name, value in plain["thresholds"].items():
        known = plain["limits"].get(name, {})
        default = known.get("default", value)
        moved = "" if value == default else ' class="moved"'
        usual = "" if value == default else f" (attnviz: {default:g})"
        rows.append(
            f"<tr{moved}><td><code>{escape(name)}</code></td>"
            f'<td class="number">{value:g}{_unit(known.get("unit", ""))}{usual}</td>'
            f"<td>{escape(known.get('meaning', ''))}</td>"
            f"<td>{escape(known.get('source', ''))}</td></tr>"
        )
    return (
        '<div class="wide"><table class="grid"><thead><tr><th>Name</th><th>Value</th>'
        f"<th>Meaning</th><th>Source</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def broken_lines(sentences: Sequence[str]) -> list[str]:
    """Return sentences on NaN and infinity as marked paragraphs."""
    return [f'<p class="lead broken">{escape(one)}</p>' for one in sentences]


def notes_list(notes: Sequence[str]) -> list[str]:
    """Return the notes of a diagnosis as a list with one element; without notes an empty one."""
    items = "".join(f"<li>{escape(sentence(one))}</li>" for one in notes)
    return [f'<ul class="notes muted">{items}</ul>'] if notes else []


def origin(plain: Mapping[str, Any]) -> str:
    """Return what the diagnosis was made from."""
    model, texts, loss = plain["model"], plain["texts"], plain["loss"]
    shapes = ", ".join(
        f"{kind} {layers} × {heads}" for kind, (layers, heads) in model["heads"].items()
    )
    entries = {
        "Model": f"{model['name']} ({model['model_type']}, {model['parameters']:,} parameters)",
        "Revision": model["revision"],
        "Heads": shapes,
        "Ran on": f"{model['device']}, {model['dtype']}",
        "Texts": f"{texts['name']}: {texts['count']:,}, read in {texts['windows']:,} windows",
        "Texts, SHA-256": texts["digest"],
        "Loss": "none"
        if loss["mean"] is None
        else f"{nats(loss['mean'])} nats per token over {texts['tokens']:,} tokens",
        "Seed": str(plain["seed"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in plain["versions"].items()),
        "Took": duration(plain["seconds"]),
    }
    listed = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in entries.items()
    )
    call = f"attnviz.diagnose(attnviz.load({model['name']!r}), texts, seed={plain['seed']})"
    return (
        f"<dl>{listed}</dl><pre><code>{escape(call)}</code></pre>"
        '<p class="muted">With the same revision, texts, versions and seed, the numbers are the '
        "same. The texts themselves are not in this file.</p>"
    )

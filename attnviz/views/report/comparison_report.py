"""Report of two models: one HTML file, without the texts of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from attnviz.findings import Finding, Interval
from attnviz.types import KIND_LABELS, Kind, Metric
from attnviz.views.maps.head_map import draw_head_map
from attnviz.views.report.plain_values import findings_of, interval_of
from attnviz.views.report.report_page import THEMES, Figures, draw_page, figure_place
from attnviz.views.report.tables import (
    anchor,
    broken_lines,
    filtered_table,
    interval_text,
    label_chip,
    label_legend,
    label_table,
    limits_table,
    notes_list,
    number_cell,
    origin,
)

__all__ = ["DIVERGENCE", "draw_comparison_report"]

DIVERGENCE = Metric(
    "divergence",
    "Divergence",
    "nats",
    "How far a head's rows in the two models are apart on the same texts.",
    (0.0, None),
    "is {value} nats away from what it was",
)

COLUMNS = (
    "Head",
    "Before",
    "After",
    "Divergence",
    "Entropy shift",
    "Cost before",
    "Cost after",
    "In words",
)


def draw_comparison_report(plain: Mapping[str, Any]) -> str:
    """Return the report of two models as one HTML page.

    Args:
        plain: what `attnviz.doctor.Comparison.plain` gives, with `limits` of
            `attnviz.doctor.report_data`.
    """
    before, after = findings_of(plain["first"]), findings_of(plain["second"])
    kinds = list(dict.fromkeys(one.head.kind for one in before))
    figures: Figures = {}
    names = (plain["first"]["model"]["name"], plain["second"]["model"]["name"])
    title = f"attnviz: the heads of {names[0]} and {names[1]}"
    said = [one for one in plain["sentences"] if one not in plain["broken"]]
    lead, *others = map(escape, said)
    body = [
        f"<h1>{escape(title)}</h1>",
        *broken_lines(plain["broken"]),
        f'<p class="lead">{lead}</p>',
        *(f"<p>{sentence}</p>" for sentence in others),
    ]
    body += notes_list(plain["notes"])
    for name, findings in zip(("Before", "After"), (before, after), strict=True):
        model = names[0] if name == "Before" else names[1]
        body.append(f"<h2>{name}: {escape(model)}</h2>")
        body += [
            label_table([one for one in findings if one.head.kind == kind], several=len(kinds) > 1)
            for kind in kinds
        ]
    body.append(label_legend([*before, *after]))
    body += [_divergence_place(plain, kind, figures, several=len(kinds) > 1) for kind in kinds]
    body += [
        "<h2>All heads</h2>",
        filtered_table(COLUMNS, _rows(plain, before, after), after),
        '<p class="muted">Divergence: Jensen-Shannon divergence of the head\'s rows in the two '
        "models, nats; 0 is equal, 0.69 has no common key. Entropy shift: entropy after minus "
        "entropy before, nats. Cost: the change of the loss when the head is removed, nats per "
        "token, with its 95% interval.</p>",
        "<h2>Thresholds</h2>",
        limits_table({**plain["first"], "limits": plain["limits"]}),
        "<h2>To make it again</h2>",
        f"<h3>{escape(names[0])}</h3>",
        origin(plain["first"]),
        f"<h3>{escape(names[1])}</h3>",
        origin(plain["second"]),
    ]
    return draw_page(title, body, figures)


def _divergence_place(
    plain: Mapping[str, Any], kind: Kind, figures: Figures, *, several: bool
) -> str:
    """Return the place of the map of divergences of one kind of attention."""
    layers, heads = plain["first"]["model"]["heads"][kind]
    values = np.full((layers, heads), np.nan)
    for one in plain["heads"]:
        if one["kind"] == kind:
            values[one["layer"], one["head"]] = interval_of(one["divergence"]).mean
    what = f", {escape(KIND_LABELS[kind])}" if several else ""
    return figure_place(
        figures,
        f"divergence-{kind}",
        f"How far each head has moved{what}",
        "Jensen-Shannon divergence of the head's rows in the two models, nats: 0 looks at the same "
        "keys, 0.69 at no common key.",
        {
            theme: draw_head_map(values, metric=DIVERGENCE, kind=kind, theme=theme)
            for theme in THEMES
        },
    )


def _rows(
    plain: Mapping[str, Any], before: Sequence[Finding], after: Sequence[Finding]
) -> list[str]:
    return [
        _row(number, one, other, numbers)
        for number, (one, other, numbers) in enumerate(
            zip(before, after, plain["heads"], strict=True)
        )
    ]


def _row(number: int, before: Finding, after: Finding, numbers: Mapping[str, Any]) -> str:
    values: list[Interval | None] = [
        interval_of(numbers["divergence"]), interval_of(numbers["entropy_shift"]),
        before.removal, after.removal,
    ]  # fmt: skip
    cells = [
        f'<td data-value="{number}">{escape(before.head.label)}</td>',
        f"<td>{label_chip(before)}<br>{before.verdict}</td>",
        f"<td>{label_chip(after)}<br>{after.verdict}</td>",
        *(number_cell(one, "" if one is None else interval_text(one)) for one in values),
        f"<td>{escape(numbers['sentence'])}</td>",
    ]
    return f'<tr id="{anchor(after.head)}" data-label="{after.label}">{"".join(cells)}</tr>'

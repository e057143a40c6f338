"""Report of a diagnosis: one HTML file, without the texts of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from attnviz.findings import Finding
from attnviz.sentences import sentence
from attnviz.types import Kind
from attnviz.views.diagnosis.ablation_bars import MOST_BARS, draw_ablation
from attnviz.views.diagnosis.entropy_ridges import draw_entropy_by_layer
from attnviz.views.diagnosis.received_weight import draw_received_by_head, well_seen_places
from attnviz.views.report.plain_values import array, findings_of
from attnviz.views.report.removal_lists import kept_sentence, removal_lists
from attnviz.views.report.report_page import THEMES, Figures, draw_page, figure_place
from attnviz.views.report.summary_sentences import diagnosis_sentences, text_count
from attnviz.views.report.tables import (
    anchor,
    broken_lines,
    cases,
    head_table,
    label_legend,
    label_table,
    limits_table,
    notes_list,
    origin,
)
from attnviz.views.style.theme import Theme
from attnviz.written_numbers import decimals

__all__ = ["draw_report"]


def draw_report(plain: Mapping[str, Any]) -> str:
    """Return the report of a diagnosis as one HTML page.

    Args:
        plain: what `attnviz.doctor.Diagnosis.plain` gives, with `entropy`, `received`, `limits`
            and `names` of `attnviz.doctor.report_data`.
    """
    findings = findings_of(plain)
    kinds = list(dict.fromkeys(one.head.kind for one in findings))
    by_kind = {kind: [one for one in findings if one.head.kind == kind] for kind in kinds}
    figures: Figures = {}
    title = f"attnviz: the heads of {plain['model']['name']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">{_subtitle(plain)}</p>',
        *_summary(plain, findings),
        "<h2>The label of every head</h2>",
        "<p>A row per layer, a column per head; the number is the change of the loss without the "
        "head, nats per token. A frame without a field of colour is a label that removing the "
        "head contradicts. A click leads to the head's row below.</p>",
        *(label_table(by_kind[kind], several=len(kinds) > 1) for kind in kinds),
        label_legend(findings),
        *_removals(plain, findings),
        *cases(findings),
        *_close_calls(findings),
    ]
    for kind in kinds:
        body += _pictures(plain, kind, by_kind[kind], figures, several=len(kinds) > 1)
    body += [
        "<h2>All heads</h2>",
        head_table(findings, plain),
        "<h2>Thresholds</h2>",
        "<p>Where the rules draw their lines. Moved ones are marked.</p>",
        limits_table(plain),
        "<h2>To make it again</h2>",
        origin(plain),
    ]
    return draw_page(title, body, figures)


def _subtitle(plain: Mapping[str, Any]) -> str:
    model, texts = plain["model"], plain["texts"]
    number = text_count(texts["count"])
    return escape(
        f"{model['title']} · {number} ({texts['name']}) · revision {model['revision'][:12]} · "
        f"attnviz {plain['versions'].get('attnviz', '')}"
    )


def _summary(plain: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    said = [escape(sentence) for sentence in diagnosis_sentences(findings)]
    broken = [one for one in (plain["not_finite"], plain["loss_not_finite"]) if one]
    lines = broken_lines(list(map(sentence, broken)))
    lines += [f'<p class="lead">{said[0]}</p>', f"<p>{' '.join(said[1:])}</p>"]
    return lines + notes_list([one for one in plain["notes"] if one not in broken])


def _removals(plain: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """Return the heads by the effect of their removal, and the groups that do the same."""
    lists = removal_lists(findings)
    if not lists:
        return []
    lines = [f"<p><b>{escape(title)}</b> {escape(names)}</p>" for title, names in lists]
    pruning = plain.get("pruning", {}).get("summary", "")
    together = [
        kept_sentence(findings),
        pruning,
        *(one["summary"] for one in plain.get("groups", ())),
    ]
    return [
        "<h2>What removing heads showed</h2>",
        '<p class="muted">In parentheses: the change of the loss without the head, nats per '
        "token.</p>",
        *lines,
        *(f"<p>{escape(sentence)}</p>" for sentence in together if sentence),
    ]


def _close_calls(findings: Sequence[Finding]) -> list[str]:
    """Return the labels that other texts could change."""
    items = "".join(
        f'<li><a href="#{anchor(one.head)}">{escape(one.head.label)}</a> ({escape(one.name)}): '
        f"{escape(said)}</li>"
        for one in findings
        for said in one.close_calls
    )
    if not items:
        return []
    return [
        "<h2>Close calls</h2>",
        "<p>Other texts could change these labels: a limit is inside the interval.</p>",
        f'<ul class="notes">{items}</ul>',
    ]


def _pictures(
    plain: Mapping[str, Any],
    kind: Kind,
    findings: Sequence[Finding],
    figures: Figures,
    *,
    several: bool,
) -> list[str]:
    """Return the figures of one kind of attention, put aside for the script, and their places."""
    lines = [
        f"<h2>{escape(kind.capitalize())}: the evidence</h2>" if several else "<h2>Evidence</h2>"
    ]

    def place(name: str, title: str, caption: str, drawn: Mapping[Theme, go.Figure]) -> None:
        lines.append(figure_place(figures, f"{name}-{kind}", title, caption, drawn))

    samples = array(plain["entropy"].get(kind))
    if samples.ndim == 3 and samples.size:
        place(
            "entropy",
            "How spread out the heads look",
            "A ridge per layer: the normalized entropy of its heads over all texts; below it the "
            "heads at their means, in the colours of their labels.",
            {theme: draw_entropy_by_layer(samples, findings, theme=theme) for theme in THEMES},
        )
    received = array(plain["received"].get(kind))
    if received.ndim == 3 and received.size:
        received = well_seen_places(received, kind, plain["model"]["family"])
        place(
            "received",
            "Where the weight goes, by place",
            "Average weight that each position receives from the tokens that can see it, over the "
            "first tokens of the texts; a row per head. A sink is a column that stands out. "
            "Positions that fewer than half of the tokens can see are left out.",
            {
                theme: draw_received_by_head(
                    received, first=plain["names"].get(kind, "first"), theme=theme
                )
                for theme in THEMES
            },
        )
    tried = [one for one in findings if one.ablation]
    if tried:
        shown = _costliest(tried)
        part = "" if len(shown) == len(tried) else f" The {len(shown)} with the largest change."
        place(
            "ablation",
            "What removing heads costs",
            "The change of the loss when a head's output is replaced, with 95% intervals over the "
            f"texts. The grey band counts as nothing. The scale is stretched around zero.{part}",
            {
                theme: draw_ablation(
                    shown, tolerance=plain["thresholds"].get("tolerance", 0.0), theme=theme
                )
                for theme in THEMES
            },
        )
    agreement = plain["agreement"].get(kind)
    if agreement is not None:
        lines.append(
            "<p>Gradient importance (Michel et al. 2019) ranks these heads with a correlation of "
            f"{decimals(agreement)} to what removing them costs.</p>"
        )
    return lines


def _costliest(tried: list[Finding]) -> list[Finding]:
    """Return the heads with the largest changes, as many as fit."""

    def change(one: Finding) -> float:
        return abs(float(np.nan_to_num(next(iter(one.ablation.values())).mean)))

    return sorted(tried, key=change, reverse=True)[:MOST_BARS]

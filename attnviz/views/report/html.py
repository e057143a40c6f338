"""A diagnosis as one HTML file: no network, no foreign code, light and dark, and on paper.

Everything is in the page: Plotly's code once, the figures as JSON, and a policy that lets only
these scripts run and forbids every request. No text of a user is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from attnviz.findings import LABELS, Finding
from attnviz.views.diagnosis.ablation_bars import MOST_BARS, draw_ablation
from attnviz.views.diagnosis.entropy_ridges import draw_entropy_by_layer
from attnviz.views.diagnosis.label_colors import ink_on, label_colors
from attnviz.views.diagnosis.received_weight import draw_received_by_head
from attnviz.views.report.plain_values import array, findings_of
from attnviz.views.report.summary_sentences import diagnosis_sentences
from attnviz.views.report.tables import (
    cases,
    head_table,
    label_legend,
    label_table,
    limits_table,
    origin,
)
from attnviz.views.style.inline_json import content_policy, script_json
from attnviz.views.style.plotly_config import plot_config
from attnviz.views.style.theme import Theme, palette

__all__ = ["draw_report"]

THEMES: tuple[Theme, ...] = ("light", "dark")

_ASSETS = Path(__file__).parent / "assets"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="figures">{figures}</script>
<script type="application/json" id="config">{config}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def draw_report(plain: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        plain: what `attnviz.doctor.Diagnosis.plain` gives, with `entropy`, `received`, `limits`
            and `names` of `attnviz.doctor.report_data`.
    """
    from plotly.offline import get_plotlyjs  # five megabytes, for those who draw a report

    findings = findings_of(plain)
    kinds = list(dict.fromkeys(one.head.kind for one in findings))
    by_kind = {kind: [one for one in findings if one.head.kind == kind] for kind in kinds}
    figures: dict[str, dict[Theme, Any]] = {}
    title = f"attnviz: the heads of {plain['model']['name']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">{_subtitle(plain)}</p>',
        *_summary(plain, findings),
        "<h2>What every head is called</h2>",
        "<p>A row per layer, a column per head. An exclamation mark and a dotted frame stand for a "
        "label that removing the head contradicts. A click leads to the head's row below.</p>",
        *(label_table(by_kind[kind], several=len(kinds) > 1) for kind in kinds),
        label_legend(findings),
        *cases(findings),
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
    script = (_ASSETS / "report.js").read_text("utf-8")
    plotly = get_plotlyjs()
    return _PAGE.format(
        policy=content_policy([plotly, script], styles=None),
        title=escape(title),
        style=_colors() + (_ASSETS / "report.css").read_text("utf-8"),
        body="\n".join(body),
        figures=script_json(figures),
        config=script_json({**plot_config("attnviz-diagnosis"), "displayModeBar": False}),
        plotly=plotly,
        script=script,
    )


def _subtitle(plain: Mapping[str, Any]) -> str:
    model, texts = plain["model"], plain["texts"]
    number = "1 text" if texts["count"] == 1 else f"{texts['count']:,} texts"
    return escape(
        f"{model['title']} · {number} ({texts['name']}) · revision {model['revision'][:12]} · "
        f"attnviz {plain['versions'].get('attnviz', '')}"
    )


def _summary(plain: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    said = [escape(sentence) for sentence in diagnosis_sentences(findings)]
    lines = [f'<p class="lead">{said[0]}</p>', f"<p>{' '.join(said[1:])}</p>"]
    if plain["notes"]:
        notes = "".join(
            f"<li>{escape(note[:1].upper() + note[1:])}.</li>" for note in plain["notes"]
        )
        lines.append(f'<ul class="notes muted">{notes}</ul>')
    return lines


def _pictures(
    plain: Mapping[str, Any],
    kind: str,
    findings: Sequence[Finding],
    figures: dict[str, dict[Theme, Any]],
    *,
    several: bool,
) -> list[str]:
    """The figures of one kind of attention, put aside for the script, and their places."""
    lines = [
        f"<h2>{escape(kind.capitalize())}: the evidence</h2>" if several else "<h2>Evidence</h2>"
    ]

    def place(name: str, title: str, caption: str, drawn: Mapping[Theme, go.Figure]) -> None:
        identity = f"{name}-{kind}"
        figures[identity] = {theme: json.loads(figure.to_json()) for theme, figure in drawn.items()}
        lines.append(
            f"<figure><h3>{title}</h3><figcaption>{caption}</figcaption>"
            f'<div class="plot" id="{identity}" role="img" aria-label="{title}"></div></figure>'
        )

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
        place(
            "received",
            "Where the weight goes, by place",
            "The mean weight that each place of a text gets, from those tokens that can see it, a "
            "row per head. A sink is a column that stands out; over the beginnings of the texts.",
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
            f"{agreement:.2f} to what removing them costs.</p>"
        )
    return lines


def _costliest(tried: list[Finding]) -> list[Finding]:
    """As many heads as fit, those with the largest changes."""

    def change(one: Finding) -> float:
        return abs(float(np.nan_to_num(next(iter(one.ablation.values())).mean)))

    return sorted(tried, key=change, reverse=True)[:MOST_BARS]


def _colors() -> str:
    """Both themes' colours as variables of the style sheet; paper is always light."""
    rules = []
    for theme in THEMES:
        colors, inks = palette(theme), label_colors(theme)
        names = {
            "page": colors.page,
            "text": colors.text,
            "muted": colors.muted,
            "line": colors.line,
            "shade": "#f4f6f9" if theme == "light" else "#1a212b",
        }
        names |= {label: inks[label] for label in LABELS}
        names |= {f"on-{label}": ink_on(inks[label]) for label in LABELS}
        body = "".join(f"--{name}:{color};" for name, color in names.items())
        rule = f":root{{{body}}}"
        rules.append(
            rule if theme == "light" else f"@media screen and (prefers-color-scheme:dark){{{rule}}}"
        )
    chips = (f".{label}{{background:var(--{label});color:var(--on-{label})}}" for label in LABELS)
    return "\n".join([*rules, *chips]) + "\n"

"""Figures of the doctor: what they show of findings, by their structure."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.findings import DEGENERATE, LABELS, Finding, Interval, Label, Verdict
from attnviz.types import Family, Head, Kind
from attnviz.views import (
    draw_ablation,
    draw_entropy_by_layer,
    draw_label_map,
    draw_received,
    label_colors,
)
from attnviz.views.diagnosis.ablation_bars import MOST_BARS
from attnviz.views.diagnosis.label_colors import short_mark, text_color_on
from attnviz.views.diagnosis.received_weight import draw_received_by_head, well_seen_places
from attnviz.views.report.summary_sentences import diagnosis_sentences
from attnviz.views.style.theme import palette
from tests.views.diagnosis_samples import HOSTILE, LABELLED, make_findings, make_samples
from tests.views.samples import names, trace

SIGHT = {
    "normal": np.eye(3),
    # Machado et al. 2009, of full strength, for linear light
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip


def light(color: str) -> np.ndarray:
    parts = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(linear: np.ndarray) -> np.ndarray:
    cones = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                      [0.2119034982, 0.6806995451, 0.1073969566],
                      [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    mix = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
    return mix @ np.cbrt(cones @ np.clip(linear, 0, 1))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_labels_look_different_to_everybody(theme: str, sight: str) -> None:
    seen = {name: oklab(SIGHT[sight] @ light(color)) for name, color in label_colors(theme).items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.15, (one, other)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_can_be_read_on_their_colours(theme: str) -> None:
    luminance = np.array([0.2126, 0.7152, 0.0722])
    for label, color in label_colors(theme).items():
        ground, color_scale = (luminance @ light(one) for one in (color, text_color_on(color)))
        contrast = (max(ground, color_scale) + 0.05) / (min(ground, color_scale) + 0.05)
        assert contrast > 4.5, (label, contrast)


def test_the_map_shows_every_head_in_its_label() -> None:
    findings = make_findings(2, 4)
    figure = draw_label_map(findings)
    cells = trace(figure, "map")
    for number, one in zip(np.ravel(cells.z), findings, strict=True):
        if one.contradicted:
            assert np.isnan(number)  # an outline, and no field
        else:
            assert LABELS[int(number)] == one.label
    assert sum(one.contradicted for one in findings) == 1
    low, high = figure.layout.yaxis.range
    assert low > high  # layer 0 at the top
    targets = trace(figure, "heads")
    assert [tuple(at) for at in targets.customdata] == [(i, j) for i in range(2) for j in range(4)]
    assert "<b>L0·H1</b> peaked: own token" in targets.hovertemplate[1]


def test_colours_of_the_map_are_those_of_the_labels() -> None:
    figure = draw_label_map(make_findings(2, 4), theme="dark")
    stops = trace(figure, "map").colorscale
    for number, label in enumerate(LABELS):
        middle = (number + 0.5) / len(LABELS)
        color = next(color for at, color in reversed(stops) if at <= middle)
        assert color == label_colors("dark")[label]


def test_a_contradicted_label_is_an_outline_in_its_colour() -> None:
    findings = make_findings(2, 4)
    figure = draw_label_map(findings)
    (outline,) = figure.layout.shapes
    assert (outline.x0 + 0.44, outline.y0 + 0.44) == (1, 0)
    assert outline.line.color == label_colors("light")[findings[1].label]
    assert any("contradicted" in name for name in names(figure))
    assert short_mark(findings[1], 6) == ("peak!", "self")
    assert short_mark(findings[1], 1) == ("P!",)
    (bars,) = (one for one in draw_ablation(findings).data if one.type == "bar")
    hollow = [name for name, color in zip(bars.x, bars.marker.color, strict=True) if "," in color]
    assert hollow == [findings[1].head.label]  # the others have a colour without transparency
    edges = dict(zip(bars.x, bars.marker.line.color, strict=True))
    assert edges[findings[1].head.label] == outline.line.color
    calm = draw_label_map(list(make_findings(1, 1)))
    assert not calm.layout.shapes and not any("contradicted" in name for name in names(calm))


def test_marks_say_what_colours_say() -> None:
    findings = {one.label: one for one in make_findings(3, 3)}
    marks = {label: short_mark(one, 1) for label, one in findings.items()}
    assert len(set(marks.values())) == len(LABELS)
    assert marks["healthy"] == ("",)
    assert short_mark(findings["redundant"], 6) == ("copy", "H2")
    assert short_mark(findings["sink"], 6) == ("sink", "rests")
    assert short_mark(findings["specialised"], 6) == ("induct",)


def test_the_legend_counts_the_heads() -> None:
    figure = draw_label_map(make_findings(4, 4))
    assert {"dead 2", "uniform 2", "sink 2", "contradicted (!) 2"} <= set(names(figure))


def test_names_from_a_tokenizer_are_shown_and_not_interpreted() -> None:
    (one,) = make_findings(1, 1)
    evil = Finding(one.head, "specialised", HOSTILE, sentences=(HOSTILE,))
    written = draw_label_map([evil]).to_json()
    assert "<img" not in written and "\\u003cimg" not in written


def test_a_map_is_of_one_kind() -> None:
    with pytest.raises(CaptureError, match="one kind"):
        draw_label_map([*make_findings(), *make_findings(kind="cross")])
    with pytest.raises(CaptureError, match="not of 0"):
        draw_label_map([])


def test_a_very_large_map_is_drawn() -> None:
    figure = draw_label_map(make_findings(64, 65))
    assert "heads" not in names(figure)  # too many to be clicked
    assert figure.layout.height < 1200


def test_entropy_has_a_ridge_per_layer_and_a_point_per_head() -> None:
    samples, findings = make_samples(3, 4), make_findings(3, 4)
    figure = draw_entropy_by_layer(samples, findings, selected=Head("self", 1, 2))
    assert [name for name in names(figure) if name.startswith("L")] == ["L0", "L1", "L2"]
    points = trace(figure, "heads")
    means = {round(value, 6) for value in samples.mean(-1).ravel()}
    assert {round(value, 6) for value in points.x} == means
    ring = trace(figure, "selected")
    assert ring.x[0] == pytest.approx(samples[1, 2].mean())
    assert int(ring.y[0]) == 1
    other = draw_entropy_by_layer(samples, findings, selected=Head("cross", 1, 2))
    assert "selected" not in names(other)


def test_a_ridge_is_highest_where_the_values_are() -> None:
    samples = np.full((1, 2, 30), 0.25)
    figure = draw_entropy_by_layer(samples, make_findings(1, 2))
    ridge = trace(figure, "L0")
    assert ridge.x[int(np.argmin(ridge.y))] == pytest.approx(0.25, abs=0.01)
    samples[:] = np.nan
    empty = trace(draw_entropy_by_layer(samples, make_findings(1, 2)), "L0")
    assert np.isfinite(empty.y).all()


def test_entropy_refuses_other_heads() -> None:
    with pytest.raises(CaptureError, match="4 heads"):
        draw_entropy_by_layer(make_samples(2, 2), make_findings(2, 4))


def test_costs_are_sorted_with_their_intervals() -> None:
    findings = make_findings(2, 4)
    figure = draw_ablation(findings[::-1], selected=Head("self", 0, 2), tolerance=0.01)
    (bars,) = [one for one in figure.data if one.type == "bar"]
    assert list(bars.x) == [one.head.label for one in findings]
    costs = np.array([one.ablation["zero"].mean for one in findings])
    assert np.sinh(np.asarray(bars.y)) * 0.01 == pytest.approx(costs)
    highs = np.sinh(np.asarray(bars.y) + np.asarray(bars.error_y.array)) * 0.01
    assert highs == pytest.approx(costs + 0.02)
    widths = list(bars.marker.line.width)
    assert widths[2] > widths[0]
    assert "its average in its place" in names(figure)
    assert any(note.text == "L0·H2" for note in figure.layout.annotations)
    ticks = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert ticks["0"] == 0 and ticks["0.1"] == pytest.approx(np.arcsinh(10))


def test_one_text_has_no_interval_and_says_so() -> None:
    figure = draw_ablation(make_findings(texts=1))
    (bars,) = [one for one in figure.data if one.type == "bar"]
    assert np.isnan(np.asarray(bars.error_y.array)).all()
    assert "no interval" in bars.customdata[0]


def test_nothing_removed_is_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no head was removed"):
        draw_ablation(make_findings(ablated=False))
    with pytest.raises(InputError, match="one layer"):
        draw_ablation(make_findings(2, MOST_BARS))


@pytest.mark.parametrize(
    ("kind", "family", "places"),
    [
        ("self", "decoder", 13),
        ("decoder", "encoder-decoder", 13),
        ("self", "encoder", 24),
        ("encoder", "encoder-decoder", 24),
        ("cross", "encoder-decoder", 24),
    ],
)
def test_places_that_few_tokens_can_see_are_left_out(
    kind: Kind, family: Family, places: int
) -> None:
    """The last place of a decoder is seen by one token; a head on itself gives it all weight."""
    weights = np.tri(24) * np.eye(24)
    received = np.broadcast_to(weights.sum(0) / np.arange(24, 0, -1), (1, 1, 24))
    assert received[0, 0, -1] == 1.0
    assert well_seen_places(received, kind, family).shape == (1, 1, places)


def test_weight_by_place() -> None:
    received = np.array([0.7, 0.1, 0.1])
    others = np.array([[0.7, 0.1, 0.1], [0.1, 0.3, np.nan]])
    figure = draw_received(received, others, label="L0·H1", first=HOSTILE)
    assert list(figure.data[0].y) == pytest.approx(received)
    assert list(figure.data[1].y) == pytest.approx([0.4, 0.2, 0.1])
    assert "<img" not in figure.layout.xaxis.ticktext[0]
    with pytest.raises(CaptureError, match="same places"):
        draw_received(received, others[:, :2], label="L0·H1")
    with pytest.raises(CaptureError, match="place"):
        draw_received_by_head(np.zeros((2, 0, 3)))
    assert draw_received_by_head(np.zeros((40, 16, 8))).layout.height < 3000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_wear_the_theme(theme: str) -> None:
    findings = make_findings()
    figures = [
        draw_label_map(findings, theme=theme),
        draw_entropy_by_layer(make_samples(), findings, theme=theme),
        draw_ablation(findings, theme=theme),
        draw_received_by_head(np.zeros((2, 4, 5)), theme=theme),
    ]
    for figure in figures:
        assert figure.layout.font.color == palette(theme).text


def test_the_headline_names_heads_and_costs() -> None:
    assert diagnosis_sentences(make_findings(3, 3)) == (
        "L2·H2 computes NaN or infinity.",
        "The model is better without L2·H1.",
        "Better without: L2·H1 (−0.28 nats).",
        "L0·H2 (uniform) and L2·H0 (dead) look degenerate, and removing each makes no difference.",
        "L0·H1 (+0.39 nats) looks degenerate but is needed.",
        "Unclear: L1·H2 looks degenerate; more texts would tell.",
        "Of 9 heads, 3 are needed, 3 make no difference, 1 is better removed, 1 is unclear and 1 "
        "was not tested.",
        "1 head has a sink: resting (1).",
        "1 head follows a known pattern: induction (1).",
    )


def test_the_headline_of_a_sound_model_and_of_nothing_removed() -> None:
    findings = make_findings(2, 4)
    (peaked,) = [one for one in findings if one.label == "peaked"]
    assert diagnosis_sentences([findings[0], peaked]) == (
        "No head is proven useless.",
        "L0·H1 (+0.38 nats) looks degenerate but is needed.",
        "Of 2 heads, 2 are needed.",
    )
    assert diagnosis_sentences([findings[0]]) == (
        "No head is proven useless.",
        "Of 1 head, 1 is needed.",
    )
    close = [replace(findings[0], close=("uniform",))]
    assert diagnosis_sentences(close)[-1] == "1 label is a close call: other texts could change it."
    assert "2 labels are close calls" in diagnosis_sentences(close * 2)[-1]
    untried = make_findings(2, 4, ablated=False)
    said = " ".join(diagnosis_sentences(untried))
    assert said.startswith("4 of 8 heads look degenerate: ") and "No removal was measured" in said
    assert "needed" not in said
    assert diagnosis_sentences(untried[:1])[0] == "None of the 1 head looks degenerate."


def test_a_head_that_ruins_the_model_comes_first() -> None:
    def head(layer: int, cost: float, verdict: Verdict, label: Label = "healthy") -> Finding:
        change = Interval(cost, cost - 0.01, cost + 0.01, 0.1, 60)
        where = Head("self", layer, 0)
        return Finding(where, label, ablation={"zero": change}, verdict=verdict)

    ruining = head(1, -3.86, Verdict.BETTER_WITHOUT)
    above = head(2, 0.0, Verdict.NO_DIFFERENCE, "uniform")
    below = head(0, 0.0, Verdict.NO_DIFFERENCE, "uniform")
    repair = "Repair L1·H0 first: heads of the layers above may look degenerate because of it."
    said = diagnosis_sentences([ruining, above])
    better = "Better without: L1·H0 (−3.86 nats)."
    assert said[:3] == ("The model is better without L1·H0.", better, repair)
    assert said[3].startswith("L2·H0 (uniform) looks degenerate") and said.count(better) == 1
    several = diagnosis_sentences([ruining, head(0, -0.2, Verdict.BETTER_WITHOUT)])
    assert several[0] == "The model is better without 2 heads."
    assert repair not in diagnosis_sentences([below, ruining])
    mild = diagnosis_sentences([head(1, -0.05, Verdict.BETTER_WITHOUT), above])
    assert (
        mild[0].startswith("L2·H0 (uniform)") and mild[1] == "Better without: L1·H0 (−0.050 nats)."
    )
    copy = replace(head(1, -0.05, Verdict.BETTER_WITHOUT, "redundant"), detail="with L1·H3")
    assert diagnosis_sentences([copy])[1] == (
        "Better without: L1·H0 (redundant: with L1·H3, −0.050 nats)."
    )


def test_samples_have_every_label() -> None:
    assert {label for label, _, _ in LABELLED} == set(LABELS) > set(DEGENERATE)


def test_a_label_has_the_same_hue_in_both_themes() -> None:
    def hue(color: str) -> float:
        _, a, b = oklab(light(color))
        return float(np.degrees(np.arctan2(b, a)))

    for label in ("uniform", "peaked", "redundant", "sink", "specialised", "positional"):
        apart = abs(hue(label_colors("light")[label]) - hue(label_colors("dark")[label])) % 360
        assert min(apart, 360 - apart) < 20, label

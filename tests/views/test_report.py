"""Report: complete in one file, without requests, and with no code but the bundled one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attnviz.findings import LABELS, Verdict
from attnviz.views import draw_report
from attnviz.views.report.comparison_report import draw_comparison_report
from attnviz.views.report.plain_values import findings_of
from attnviz.written_numbers import signed_nats
from tests.views.diagnosis_samples import HOSTILE, make_plain

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def without_code(page: str) -> str:
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_the_same_diagnosis_gives_the_same_file() -> None:
    assert draw_report(make_plain()) == draw_report(make_plain())


def test_it_needs_nobody() -> None:
    page = draw_report(make_plain())
    shown = without_code(page)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", shown)
    assert "@import" not in shown and "url(" not in shown and "//" not in shown.split("<style>")[0]
    config = json.loads(re.findall(r'id="config">(.*?)</script>', page)[0])
    assert config["showSendToCloud"] is False


def test_only_its_own_scripts_may_run() -> None:
    page = draw_report(make_plain())
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', page)[0]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy and "http" not in policy
    allowed = re.findall(r"'sha256-(.*?)'", policy)
    digests = [
        base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts(page)
    ]
    assert digests == allowed and len(digests) == 2


def test_strangers_strings_stay_strings() -> None:
    page = draw_report(make_plain(hostile=True))
    assert "<img" not in without_code(page)
    assert len(scripts(page)) == 2
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_it_says_what_is_needed_to_make_it_again() -> None:
    plain = make_plain()
    shown = without_code(draw_report(plain))
    for value in (
        plain["model"]["name"],
        plain["model"]["revision"],
        plain["texts"]["digest"],
        "torch 2.0",
        "attnviz 0.1.0",
        "uniform_entropy",
        "Above this.",
    ):
        assert value in shown, value
    assert re.search(r"<dt>Seed</dt><dd>3</dd>", shown)
    moved = re.findall(r'<tr class="moved">.*?</tr>', shown)
    assert len(moved) == 1 and "uniform_entropy" in moved[0] and "attnviz: 0.95" in moved[0]


def test_every_head_is_in_the_map_and_in_the_table() -> None:
    plain = make_plain(kinds=3)
    shown = without_code(draw_report(plain))
    for one in plain["heads"]:
        anchor = f"head-{one['kind']}-{one['layer']}-{one['head']}"
        assert shown.count(f'href="#{anchor}"') >= 1
        assert shown.count(f'id="{anchor}"') == 1
    for label in LABELS:
        assert f"--{label}:" in shown
    sections = (
        "What removing heads showed",
        "<h2>Look degenerate but are needed",
        "Better without<",
        "<h2>Look degenerate<",
        "All heads",
    )
    places = [shown.index(one) for one in sections]
    assert places == sorted(places)


def test_it_lists_effects_groups_and_close_calls() -> None:
    plain = make_plain()
    added = "A close call: it narrowly misses “uniform”."
    plain["heads"][3]["sentences"].append(added)
    findings = findings_of(plain)
    shown = without_code(draw_report(plain))
    (better,) = [one for one in findings if one.verdict is Verdict.BETTER_WITHOUT]
    cost = f"{signed_nats(better.ablation['zero'].mean)}"
    assert f"<b>Better without: 1 head.</b> {better.head.label} ({cost})" in shown
    needed = [one for one in findings if one.verdict is Verdict.NEEDED]
    assert f"Needed: {len(needed)} heads." in shown
    assert "<p>3 heads that do the same.</p>" in shown
    assert f"{findings[3].head.label}</a> ({findings[3].name}): it narrowly misses" in shown
    assert "Close calls" not in without_code(draw_report(make_plain()))
    cell = re.search(rf'aria-label="{better.head.label}: [^>]*>([^/]*)</a>', shown)
    assert cell is not None and cell[1].endswith(f"<br>{cost}")
    assert "What removing heads showed" not in draw_report(make_plain(ablated=False))


def plain_pair(*, hostile: bool = False, kinds: int = 1) -> dict[str, Any]:
    """Return a comparison of a diagnosis with itself, as plain values."""
    one = make_plain(hostile=hostile, kinds=kinds)
    said = HOSTILE if hostile else "No head has changed its label."
    moved = {"mean": 0.25, "low": 0.2, "high": 0.3, "spread": 0.1, "texts": 60}
    heads = [
        {**{name: head[name] for name in ("kind", "layer", "head", "name")},
         "divergence": moved, "entropy_shift": moved, "sentence": said}
        for head in one["heads"]
    ]  # fmt: skip
    return {"first": one, "second": one, "sentences": [said], "notes": [said],
            "broken": [], "heads": heads, "limits": one["limits"]}  # fmt: skip


def test_the_report_of_two_models_is_complete() -> None:
    plain = plain_pair(kinds=3)
    page = draw_comparison_report(plain)
    shown = without_code(page)
    for one in plain["heads"]:
        anchor = f"head-{one['kind']}-{one['layer']}-{one['head']}"
        assert shown.count(f'href="#{anchor}"') == 2
        assert shown.count(f'id="{anchor}"') == 1
    assert shown.count("0.250 (0.200 to 0.300)") == 2 * len(plain["heads"])
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', page)[0])
    assert set(figures) == {f"divergence-{kind}" for kind in ("encoder", "decoder", "cross")}
    for drawn in figures.values():
        heatmap = next(one for one in drawn["light"]["data"] if one["type"] == "heatmap")
        assert heatmap is not None


def test_hostile_names_stay_text_in_the_report_of_two_models() -> None:
    page = draw_comparison_report(plain_pair(hostile=True))
    assert "<img" not in without_code(page)
    assert len(scripts(page)) == 2


def test_without_ablation_there_is_no_cost() -> None:
    page = draw_report(make_plain(ablated=False))
    assert "What removing heads costs" not in page
    assert "No removal was measured" in page
    assert "<dt>Loss</dt><dd>none</dd>" in page


def test_numbers_that_do_not_exist_are_no_json() -> None:
    plain = make_plain()
    plain["entropy"]["self"][0][0] = [None] * 12
    plain["received"]["self"][0][0] = [None] * 6
    page = draw_report(plain)
    figures = re.findall(r'id="figures">(.*?)</script>', page)[0]
    json.loads(figures, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_a_disk_without_a_network(
    chromium: Browser, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(draw_report(make_plain(hostile=True, kinds=3)), "utf-8")
    context = chromium.new_context(offline=True, color_scheme=scheme, viewport={
        "width": 390, "height": 800})  # fmt: skip
    context.set_default_timeout(60_000)
    page = context.new_page()
    seen: list[str] = []
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("console", lambda message: seen.append(message.text))
    page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: seen.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    assert [one for one in seen if one != path.as_uri()] == []
    assert page.locator(".plot .main-svg").count() >= 9
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(17, 22, 29)")

    page.fill("#search", "l1 h2 cross")
    assert page.locator("#heads tbody tr:visible").count() == 1
    page.fill("#search", "")
    page.select_option("#label", "dead")
    assert page.locator("#heads tbody tr:visible").count() == 3
    page.select_option("#label", "")
    cost = page.locator("#heads th button", has_text="Cost")
    for order in (1, -1):
        cost.click()
        shown = page.eval_on_selector_all(
            "#heads tbody tr", "rows => rows.map(row => Number(row.cells[3].dataset.value))"
        )
        assert shown == sorted(shown, reverse=order < 0)
    page.click("table.map a >> nth=2")
    page.wait_for_selector("#heads tr:target details[open]")
    assert page.locator("#heads tr:target details[open]").count() == 1
    assert HOSTILE in (page.locator("h1").text_content() or "")
    context.close()

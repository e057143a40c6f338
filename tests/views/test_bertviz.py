from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import attnviz
from attnviz.errors import AttnvizError, CaptureError, InputError
from attnviz.types import Tokens
from attnviz.views.lines import bertviz_code
from attnviz.views.lines.bertviz_page import NUMBER_LIMIT, BertvizPart, bertviz_html
from attnviz.views.style.contrast import contrast
from attnviz.views.style.line_colors import line_colors
from attnviz.views.style.theme import palette
from tests.views.samples import HOSTILE, make_attention, make_tokens

VENDOR = Path(attnviz.__file__).parent / "vendor"


def part(layers=2, heads=3, count=8, *, words=HOSTILE, name="self", segments=None):
    tokens = make_tokens(count, words)
    tokens = Tokens(tokens.ids, tokens.labels, tokens.special, segments)
    weights = np.stack(
        [
            [make_attention(count, seed=layer * heads + head)[0] for head in range(heads)]
            for layer in range(layers)
        ]
    )
    return BertvizPart(name, weights, tokens, tokens)


def read(html):
    """Return the tags of the page as a browser finds them, with their attributes."""
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    Reader().feed(html)
    return tags


def parameters(html):
    text = re.search(r"const params = attnviz\.parameters\((\{.*?\})\);", html).group(1)
    return json.loads(text)


def test_the_vendored_files_are_the_ones_that_were_vendored():
    listed = dict(
        re.findall(
            r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "VENDORED.md").read_text(), re.M
        )
    )
    names = {path.name for path in VENDOR.iterdir()} - {"VENDORED.md", "__pycache__"}
    assert names == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("view", ["head", "model"])
def test_the_page_holds_no_address_but_namespaces(view):
    html = bertviz_html([part()], view=view)
    addresses = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'<]*", html)
    assert {one for one in addresses if not one.startswith("http://www.w3.org/")} == set()
    tags = read(html)
    assert not {"link", "iframe", "img", "base"} & {tag for tag, _ in tags}
    assert not {"src", "href"} & {name for _, attributes in tags for name in attributes}
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html


@pytest.mark.parametrize("view", ["head", "model"])
def test_the_policy_names_every_script_and_style_by_its_digest(view):
    html = bertviz_html([part()], view=view)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html).group(1)
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in inline]
        sources = re.search(rf"{tag}-src ([^;]*);", policy).group(1).split()
        assert sources == [f"'sha256-{digest.decode()}'" for digest in digests]


@pytest.mark.parametrize("view", ["head", "model"])
def test_no_token_can_leave_its_string(view):
    html = bertviz_html([part(name="</script><b>")], view=view)
    tags = [tag for tag, _ in read(html)]
    assert tags.count("script") == 4
    assert "img" not in tags
    line = re.search(r"const params = attnviz\.parameters\((\{.*?\})\);", html).group(1)
    assert not set("<>&\u2028\u2029") & set(line)


def test_the_numbers_and_tokens_arrive():
    one = part(words=("a", "b", "c", "d"), count=4)
    given = parameters(bertviz_html([one], layer=1, heads=[0, 2]))
    (entry,) = given["attention"]
    assert np.asarray(entry["attn"]) == pytest.approx(one.weights, abs=1e-4)
    assert entry["left_text"] == ["a", "b", "c", "d"]
    assert (given["layer"], given["heads"], given["total_heads"]) == (1, [0, 2], 3)


def test_masked_weights_are_zero():
    one = part(count=3)
    one.weights[..., 0, 2] = np.nan
    assert parameters(bertviz_html([one]))["attention"][0]["attn"][0][0][0][2] == 0


def test_a_sentence_pair_has_its_four_parts():
    html = bertviz_html([part(count=5, segments=np.array([0, 0, 0, 1, 1]))])
    entries = parameters(html)["attention"]
    assert [len(one["left_text"]) for one in entries] == [5, 3, 2, 3, 2]
    assert [len(one["right_text"]) for one in entries] == [5, 3, 2, 2, 3]
    assert [tag for tag, _ in read(html)].count("option") == 5


def test_an_encoder_decoder_has_a_menu():
    html = bertviz_html([part(name="encoder"), part(name="cross <i>")])
    assert "cross &lt;i&gt;</option>" in html


def test_too_much_is_refused_with_the_limit():
    many = BertvizPart("self", np.zeros((12, 12, 61, 61)), make_tokens(61), make_tokens(61))
    with pytest.raises(InputError, match=f"535,824 weights; up to {NUMBER_LIMIT:,}"):
        bertviz_html([many])


def test_errors_say_what_was_got():
    good = part()
    with pytest.raises(InputError, match="nothing to draw"):
        bertviz_html([])
    with pytest.raises(InputError, match="'neuron'"):
        bertviz_html([good], view="neuron")
    with pytest.raises(InputError, match="layer 2; there are 2"):
        bertviz_html([good], layer=2)
    with pytest.raises(InputError, match=r"\[3\]"):
        bertviz_html([good], heads=[3])
    with pytest.raises(CaptureError, match="8 queries and 7 keys"):
        bertviz_html([BertvizPart("x", good.weights, good.query_tokens, make_tokens(7))])
    with pytest.raises(InputError, match="one shape"):
        bertviz_html([good, part(layers=1)])


def test_without_bertviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bertviz_code, "find_spec", lambda name: None)
    with pytest.raises(AttnvizError, match="pip install bertviz"):
        bertviz_html([part()])


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["head", "model"])
def test_the_page_draws_without_a_network(open_page, view, theme):
    page = open_page(bertviz_html([part()], view=view, theme=theme))
    lines = page.locator("#vis svg line")
    lines.first.wait_for(state="attached")
    assert lines.count() >= 8 * 8
    if view == "head":
        shown = page.locator("#left text").all_text_contents()
        assert shown[3:] == list(HOSTILE[3:])
        assert shown[0].startswith("</script><")
        page.locator("#layer").select_option("1")
        assert page.locator("#vis svg").count() == 1
    assert page.seen == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "foreign",
    [
        "<script>document.title = 'ran'</script>",
        "<img src=x onerror=\"document.title = 'ran'\">",
        "<svg onload=\"document.title = 'ran'\"></svg>",
        "<style>#vis { display: none }</style>",
    ],
)
def test_no_other_script_or_style_runs_in_the_page(open_page, foreign):
    page = open_page(bertviz_html([part()]).replace("<body>", f"<body>{foreign}"))
    page.locator("#vis svg line").first.wait_for(state="attached")
    assert page.locator("#vis").is_visible()
    assert page.title() == "BertViz head view"


def test_the_page_of_one_layer_holds_its_weights_and_no_menu_of_layers():
    one = part(count=4)
    html = bertviz_html([one], layer=1, only_layer=True)
    (entry,) = parameters(html)["attention"]
    assert np.asarray(entry["attn"]) == pytest.approx(one.weights[1:], abs=1e-4)
    assert parameters(html)["include_layers"] == [1]
    assert 'id="layer"' not in html


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 2, 8, 12, 16, 24])
def test_line_colors_differ_and_can_be_seen_on_the_page(count, theme):
    colors = [[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in line_colors(count, theme)]
    page = [int(palette(theme).page[at : at + 2], 16) for at in (1, 3, 5)]
    assert min(contrast(one, page) for one in colors) >= 3
    assert len({tuple(one) for one in colors}) == count


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280, 1900])
@pytest.mark.parametrize("view", ["head", "model"])
def test_the_drawing_is_as_wide_as_the_window(open_page, view, width):
    page = open_page(bertviz_html([part()], view=view), width=width)
    page.locator("#vis svg line").first.wait_for(state="attached")
    drawn, scrolled = page.evaluate(
        "() => [document.querySelector('#vis svg').getBoundingClientRect().width, "
        "document.scrollingElement.scrollWidth]"
    )
    assert width - 40 <= drawn <= width
    assert scrolled <= width
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function(
        "() => document.querySelector('#vis svg').getBoundingClientRect().width <= 700"
    )


@pytest.mark.browser
def test_heads_have_names_and_are_added_and_removed(open_page):
    page = open_page(bertviz_html([part()], heads=[1]))

    def drawn():
        """Return the heads that have a visible line."""
        return page.evaluate(
            """() => [...document.querySelectorAll('.headAttention')]
                .filter((one) => [...one.querySelectorAll('line')]
                    .some((line) => Number(line.getAttribute('stroke-opacity')) > 0))
                .map((one) => Number(one.getAttribute('head-index')))"""
        )

    names = page.locator(".names button")
    names.first.wait_for()
    assert names.all_text_contents() == ["H0", "H1", "H2"]
    assert drawn() == [1]
    page.get_by_role("button", name="H2").click()
    assert drawn() == [1, 2]
    page.locator("#layer").select_option("1")
    assert drawn() == [1, 2]
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("() => document.querySelector('#vis svg').clientWidth <= 800")
    assert drawn() == [1, 2]
    assert page.locator("#layer").input_value() == "1"
    page.get_by_role("button", name="H1").click()
    page.get_by_role("button", name="H2").click()
    assert drawn() == [2]  # one always stays
    page.get_by_role("button", name="H0").dblclick()
    assert drawn() == [0]
    page.get_by_role("button", name="All heads").click()
    assert drawn() == [0, 1, 2]
    assert page.seen == []


@pytest.mark.browser
@pytest.mark.parametrize("view", ["head", "model"])
def test_the_drawing_is_saved_as_svg(open_page, view, tmp_path):
    page = open_page(bertviz_html([part()], view=view, theme="dark", heads=[0, 2]))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture as SVG").click()
    assert download.value.suggested_filename == "attnviz-lines.svg"
    download.value.save_as(tmp_path / "lines.svg")
    picture = ElementTree.parse(tmp_path / "lines.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f".//{space}line")) >= 8
    assert palette("dark").page in {one.get("fill") for one in picture.iter(f"{space}rect")}
    if view == "head":
        texts = [one.text for one in picture.iter(f"{space}text")]
        assert texts[-2:] == ["H0", "H2"]


@pytest.mark.parametrize("view", ["head", "model"])
def test_only_a_font_that_is_named_may_be_requested(view):
    html = bertviz_html([part()], view=view, font_address='/static/a "font".woff2')
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html).group(1)
    assert "font-src 'self'" in policy
    assert re.findall(r"url\((.*?)\)", html.partition("</style>")[0]) == [
        '"/static/a%20%22font%22.woff2"'
    ]
    assert "font-src" not in bertviz_html([part()], view=view)

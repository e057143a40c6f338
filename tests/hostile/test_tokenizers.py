"""Tokenizers that panic, abort the process, multiply texts or never finish."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

import attnviz
from attnviz.errors import AttnvizError, InputError, LoadCancelled, ModelError, ModelUnsafe
from attnviz.models import cancellable
from attnviz.models.tokenizers import tokenizer_check, tokenizer_trial
from attnviz.models.tokenizers.tokenizer_trial import growth_of

Spoil = Callable[..., Path]


@pytest.fixture
def spoiled(gpt_folder: Path, tmp_path: Path) -> Spoil:
    """`spoiled(normalizer=...)`: a folder whose tokenizer.json has other parts."""

    def spoil(**parts: Any) -> Path:
        folder = Path(shutil.copytree(gpt_folder, tmp_path / "models" / "mine"))
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | parts))
        return folder

    return spoil


def replaced(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


BACKTRACKING = {
    "type": "Split",
    "pattern": {"Regex": "(a+)+$"},
    "behavior": "Isolated",
    "invert": False,
}
TRIGGER = "a" * 40 + "b"


@pytest.mark.parametrize(
    "parts",
    [{"pre_tokenizer": BACKTRACKING}, {"normalizer": replaced("(a+)+$", "x", "Regex")}],
    ids=["pattern that splits", "pattern that replaces"],
)
def test_a_panic_is_a_sentence(spoiled: Spoil, parts: dict[str, Any]) -> None:
    model = attnviz.load(str(spoiled(**parts)))
    for _ in range(2):
        with pytest.raises(InputError, match=r"tokenizer of .* failed on this text") as caught:
            attnviz.capture(model, TRIGGER)
        assert "retry-limit" in str(caught.value)
        assert not isinstance(caught.value.__cause__, Exception)
        assert TRIGGER not in str(caught.value)
    assert attnviz.capture(model, "The cat sat.")["self"].shape[2] > 1
    with pytest.raises(InputError):
        list(attnviz.capture_many(model, ["The cat sat.", TRIGGER]))


def test_a_diagnosis_of_texts_on_which_the_tokenizer_panics(spoiled: Spoil) -> None:
    model = attnviz.load(str(spoiled(pre_tokenizer=BACKTRACKING)))
    with pytest.raises(AttnvizError):
        attnviz.diagnose(model, [TRIGGER, "The cat sat on the mat."])


MULTIPLYING = {
    "chain": {"normalizer": sequence(*[replaced("a", "a" * 100)] * 8)},
    "chain of an empty pattern": {"normalizer": sequence(*[replaced("", "aa")] * 40)},
    "one long replacement": {"normalizer": replaced("e", "e" * 100_000)},
    "regular expressions": {"normalizer": sequence(*[replaced(".", "aaaa", "Regex")] * 10)},
    "nested": {"normalizer": sequence(*[sequence(*[replaced("a", "a" * 9)] * 4)] * 4)},
    "prepended": {"normalizer": {"type": "Prepend", "prepend": "a" * 1_000_000}},
    "decoder": {"decoder": {"type": "Sequence", "decoders": [replaced("a", "a" * 99)] * 8}},
}


@pytest.mark.parametrize("parts", MULTIPLYING.values(), ids=MULTIPLYING)
def test_tokenizers_that_multiply_texts(spoiled: Spoil, parts: dict[str, Any]) -> None:
    began = time.monotonic()
    with pytest.raises(ModelUnsafe, match=r"tokenizer of .* is refused: its .* characters out of"):
        attnviz.load(str(spoiled(**parts)))
    assert time.monotonic() - began < 20


PADDING = {"direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
ABORTING = {
    "padding": {
        "padding": PADDING | {"strategy": {"Fixed": 10**12}, "pad_to_multiple_of": None},
    },
    "multiple": {
        "padding": PADDING | {"strategy": "BatchLongest", "pad_to_multiple_of": 10**12},
    },
    "empty pattern": {"normalizer": replaced("", "a" * 70)},
}


@pytest.mark.parametrize("parts", ABORTING.values(), ids=ABORTING)
def test_what_would_abort_the_process(spoiled: Spoil, parts: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        attnviz.load(str(spoiled(**parts)))


def test_growth_that_no_setting_shows_is_measured(gpt_folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(gpt_folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace("é", "e" * 65)
    assert "65 characters out of U+00E9" in str(tokenizer_trial._tried(tokenizer))
    tokenizer.normalizer = normalizers.NFKD()
    assert tokenizer_trial._tried(tokenizer) is None


def test_a_trial_that_never_ends(spoiled: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    program = spoiled().parent / "endless.py"
    program.write_text("while True: pass")
    monkeypatch.setattr(tokenizer_check.tokenizer_trial, "__file__", str(program))
    monkeypatch.setattr(tokenizer_check, "SECONDS", 1.0)
    tokenizer_check._RESULTS.clear()
    with pytest.raises(ModelUnsafe, match=r"longer than 1\.0 s"):
        attnviz.load(str(program.parent / "mine"))
    tokenizer_check._RESULTS.clear()
    monkeypatch.setattr(tokenizer_check, "SECONDS", 60.0)
    began = time.monotonic()
    with (
        pytest.raises(LoadCancelled),
        cancellable(lambda: time.monotonic() - began < 0.5),
    ):
        attnviz.load(str(program.parent / "mine"))
    assert time.monotonic() - began < 10
    tokenizer_check._RESULTS.clear()


def test_a_tokenizer_is_tried_once_for_each_content(
    spoiled: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []

    def counted(content: bytes) -> str:
        tried.append(content)
        return ""

    monkeypatch.setattr(tokenizer_check, "_tried", counted)
    monkeypatch.setattr(tokenizer_check, "_RESULTS", type(tokenizer_check._RESULTS)())
    folder = spoiled()
    for _ in range(3):
        attnviz.load(str(folder))
    assert len(tried) == 1
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tried[0]), indent=3))
    attnviz.load(str(folder))
    assert len(tried) == 2
    attnviz.load("gpt-classroom")
    assert len(tried) == 2


def test_a_tokenizer_without_a_tokenizer_json_is_tried_too(
    gpt_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(gpt_folder, tmp_path / "mine"))
    settings = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    (folder / "vocab.json").write_text(json.dumps(settings["model"]["vocab"]))
    merges = (
        " ".join(pair) if isinstance(pair, list) else pair for pair in settings["model"]["merges"]
    )
    (folder / "merges.txt").write_text("\n".join(merges))
    tried: list[bytes] = []
    monkeypatch.setattr(tokenizer_check, "_tried", lambda content: tried.append(content) or "")
    monkeypatch.setattr(tokenizer_check, "_RESULTS", type(tokenizer_check._RESULTS)())
    with pytest.raises(InputError, match="is this the tokenizer it was trained with"):
        attnviz.load(str(folder))  # the library adds a begin token that the model has no room for
    assert len(tried) == 1
    assert json.loads(tried[0])["model"]["type"] == "BPE"


def test_the_trial_costs_little(gpt_folder: Path) -> None:
    content = (gpt_folder / "tokenizer.json").read_bytes()
    began = os.times().children_user
    assert tokenizer_check._tried(content) == ""
    assert os.times().children_user - began < 2


def test_the_real_tokenizers_are_sound() -> None:
    classroom = Path(attnviz.__file__).parent / "models" / "classroom"
    for path in sorted(classroom.glob("*/tokenizer.json")):
        assert tokenizer_check._tried(path.read_bytes()) == ""


@given(
    st.lists(
        st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=4), st.booleans()), max_size=5
    ),
    st.text("ab", min_size=1, max_size=20),
)
def test_the_estimate_of_growth_is_never_too_small(
    steps: list[tuple[str, str, bool]], text: str
) -> None:
    settings = sequence(
        *[replaced(p or "", c, "Regex" if regex and p else "String") for p, c, regex in steps]
    )
    normalizer = normalizers.Sequence(
        [_normalizer(pattern, content, regex) for pattern, content, regex in steps]
    )
    grown = growth_of(settings)
    assert len(normalizer.normalize_str(text)) <= grown * (len(text) + 1)


def _normalizer(pattern: str, content: str, regex: bool) -> Any:
    from tokenizers import Regex

    return normalizers.Replace(Regex(pattern) if regex and pattern else pattern, content)


def test_threads_that_wait_for_a_refused_tokenizer_all_end(spoiled: Spoil) -> None:
    folder = str(spoiled(**MULTIPLYING["chain"]))
    said: list[str] = []

    def load() -> None:
        try:
            attnviz.load(folder)
        except ModelUnsafe as error:
            said.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(said) == 4

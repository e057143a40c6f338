"""Examples in the docstrings of the public functions run and print what they show."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest

import attnviz
from attnviz import metrics, views
from attnviz.attention import AttentionStack
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.decomposition.logit_lens import logit_lens
from attnviz.experiments.decomposition.logit_parts import logit_parts
from attnviz.experiments.patching.head_patches import patch_heads

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "load": attnviz.load,
    "instrument": attnviz.instrument,
    "capture": attnviz.capture,
    "AttentionStack.weights": AttentionStack.weights,
    "AttentionStack.pooled": AttentionStack.pooled,
    "metrics.per_head": metrics.per_head,
    "summarize": attnviz.summarize,
    "verify": attnviz.verify,
    "word_weights": attnviz.word_weights,
    "diagnose": attnviz.diagnose,
    "views.draw_weights": views.draw_weights,
    "patch_heads": patch_heads,
    "logit_parts": logit_parts,
    "composition": composition,
    "logit_lens": logit_lens,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tests = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name, globs={})
    assert [len(test.examples) > 0 for test in tests] == [True], f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(tests[0])
    assert runner.failures == 0, capsys.readouterr().out

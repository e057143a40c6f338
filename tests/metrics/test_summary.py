"""`summarize`: one table of all metrics and heads."""

from __future__ import annotations

import numpy as np
import pytest

import attnviz
from attnviz import Model, metrics


def test_one_row_per_head_and_one_column_per_metric(gpt: Model) -> None:
    capture = attnviz.capture(gpt, "The cat sat on the mat. The cat sat on the hat.")
    table = attnviz.summarize(capture)
    layers, heads, _, _ = capture["self"].shape
    assert list(table.columns) == ["kind", "layer", "head", *metrics.names()]
    assert len(table) == layers * heads
    for name in metrics.names():
        expected = metrics.per_head(name, capture["self"])
        for _, row in table.iterrows():
            np.testing.assert_equal(row[name], expected[row["layer"], row["head"]])


def test_every_kind_of_an_encoder_decoder(t5: Model) -> None:
    capture = attnviz.capture(t5, "The cat sat on the mat.", target="The dog sat.")
    table = attnviz.summarize(capture)
    counts = table.groupby("kind", sort=False).size().to_dict()
    assert counts == {"encoder": 2 * 4, "decoder": 3 * 4, "cross": 3 * 4}
    cross = table[table["kind"] == "cross"]
    assert cross["mean_distance"].isna().all()
    assert cross["entropy"].notna().all()


@pytest.mark.parametrize("text", ["cat", "The cat sat on the mat."])
def test_statistics_are_enough(bert: Model, text: str) -> None:
    whole, slim = (
        attnviz.summarize(attnviz.capture(bert, text, keep=keep)) for keep in ("qkv", "statistics")
    )
    np.testing.assert_array_equal(whole.iloc[:, 3:].to_numpy(), slim.iloc[:, 3:].to_numpy())


def test_summaries_made_in_threads_leave_warnings_alone(gpt: Model) -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    before = list(warnings.filters)
    capture = attnviz.capture(gpt, "cat", keep="statistics")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: attnviz.summarize(capture), range(200)))
    assert warnings.filters == before

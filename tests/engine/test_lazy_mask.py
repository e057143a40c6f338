"""`LazyMask` has the numbers of the library's mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import masking_utils as library
from transformers.masking_utils import and_masks, or_masks, sdpa_mask

from attnviz.attention.masks.lazy_mask import LazyMask, lazy_mask, only_selected, split_mask
from attnviz.attention.masks.visibility import Visibility
from attnviz.errors import ModelNotSupported


def packed(n: int, width: int) -> Tensor:
    """Return document numbers of two texts of several short documents."""
    return torch.stack([torch.arange(n) // width, torch.arange(n) // (width + 1)])


KINDS: dict[str, Callable[[int, int], Any]] = {
    "causal": lambda n, w: library.causal_mask_function,
    "bidirectional": lambda n, w: library.bidirectional_mask_function,
    "window behind": lambda n, w: library.sliding_window_causal_mask_function(w),
    "window both ways": lambda n, w: library.sliding_window_bidirectional_mask_function(w),
    "chunks": lambda n, w: library.chunked_causal_mask_function(w, torch.tensor([0, 2])),
    "packed": lambda n, w: and_masks(
        library.causal_mask_function, library.packed_sequence_mask_function(packed(n, w))
    ),
    "prefix": lambda n, w: or_masks(
        library.causal_mask_function, lambda batch, head, query, key: key < w
    ),
    "no interval": lambda n, w: lambda batch, head, query, key: (query + key) % (w + 1) == 0,
}


@st.composite
def paddings(draw: Any, keys: int) -> Tensor | None:
    """Draw no padding, or a padding mask of two texts with pads on either side."""
    if draw(st.booleans()):
        return None
    flags = torch.ones(2, keys, dtype=torch.bool)
    for text in flags:
        left = draw(st.integers(0, keys - 1))
        right = draw(st.integers(0, keys - 1 - left))
        text[:left] = False
        text[keys - right :] = False
    return flags


def both(mask_function: Any, padding: Tensor | None, queries: int, keys: int, offset: int) -> tuple:
    """Return the lazy mask, and the library's full table."""
    arguments = {
        "batch_size": 2,
        "q_length": queries,
        "kv_length": keys,
        "q_offset": offset,
        "mask_function": mask_function,
        "attention_mask": padding,
    }
    table = sdpa_mask(**arguments, allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
    return lazy_mask(**arguments), table


def added(table: Tensor) -> Tensor:
    """Return the library's mask as its eager attention adds it to the scores."""
    return torch.zeros(table.shape).masked_fill(~table, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("kind", KINDS)
@given(given_data=st.data())
def test_equals_the_librarys_mask(kind: str, given_data: Any) -> None:
    draw = given_data.draw
    keys = draw(st.integers(1, 24), "keys")
    queries = keys if kind == "packed" else draw(st.integers(1, keys), "queries")
    function = KINDS[kind](keys, draw(st.integers(1, 8), "width"))
    lazy, table = both(function, draw(paddings(keys)), queries, keys, keys - queries)
    assert isinstance(lazy, LazyMask)
    assert lazy.shape == table.shape
    assert torch.equal(lazy.materialize(), added(table))
    assert torch.equal(lazy.visibility.table(), table[:, 0])
    assert torch.equal(lazy.visibility.count, table[:, 0].sum(-1).int())


@pytest.mark.parametrize("kind", ["causal", "window behind", "chunks", "no interval"])
def test_rules_longer_than_a_block_of_rows(kind: str) -> None:
    lazy, table = both(KINDS[kind](600, 100), None, 600, 600, 0)
    assert torch.equal(lazy.materialize(), added(table))


def test_simple_rules_never_become_tables() -> None:
    padding = torch.ones(2, 300, dtype=torch.bool)
    padding[1, 250:] = False
    for kind in ("causal", "bidirectional", "window behind", "window both ways"):
        lazy, _ = both(KINDS[kind](300, 40), padding, 300, 300, 0)
        assert lazy.visibility.dense is None, kind


OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "slice": lambda mask: mask[:, :, 1:3, :4],
    "to flags": lambda mask: mask.bool(),
    "compare": lambda mask: mask == 0,
    "add": lambda mask: mask + torch.ones(2, 1, 5, 5),
    "reversed add": lambda mask: torch.ones(2, 1, 5, 5) + mask,
    "expand": lambda mask: mask.expand(2, 3, 5, 5),
    "sum": lambda mask: mask.sum(),
    "fill": lambda mask: torch.zeros(2, 1, 5, 5).masked_fill(mask.bool(), 1.0),
    "clone": lambda mask: mask.clone(),
    "concatenate": lambda mask: torch.cat([mask, mask], -1),
    "any": lambda mask: bool(mask.any()),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_operations_use_the_numbers(operation: Callable[[Tensor], Any]) -> None:
    lazy, table = both(KINDS["causal"](5, 1), None, 5, 5, 0)
    mine, theirs = operation(lazy), operation(added(table))
    assert not isinstance(mine, LazyMask)
    assert torch.equal(torch.as_tensor(mine), torch.as_tensor(theirs))


@pytest.mark.parametrize("form", ["lazy", "flags", "added", "added -inf", "added half"])
def test_all_forms_of_a_mask_are_equal(form: str) -> None:
    padding = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool()
    lazy, table = both(KINDS["causal"](6, 1), padding, 6, 6, 0)
    dtype = torch.bfloat16 if form == "added half" else torch.float32
    lowest = float("-inf") if form == "added -inf" else torch.finfo(dtype).min
    given_mask = {"lazy": lazy, "flags": table}.get(
        form, torch.zeros(table.shape, dtype=dtype).masked_fill(~table, lowest)
    )
    visibility, bias = split_mask(given_mask, 2, 6, 6, torch.device("cpu"))
    assert bias is None
    assert torch.equal(visibility.table(), table[:, 0])


def test_masks_that_differ_between_heads_are_refused() -> None:
    mask = torch.ones(1, 2, 3, 3, dtype=torch.bool)
    assert split_mask(mask, 1, 3, 3, torch.device("cpu"))[0].is_full
    mask[0, 1, 2, 0] = False
    for form in (mask, added(mask)):
        with pytest.raises(ModelNotSupported, match="heads of a layer have different masks"):
            split_mask(form, 1, 3, 3, torch.device("cpu"))


def test_only_selected_keys_are_visible() -> None:
    causal = Visibility.causal(1, 4, 4, 0)
    chosen = torch.tensor([[[0, 1], [0, 1], [1, 2], [0, 3]]])
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]]
    assert only_selected(causal, chosen).table()[0].int().tolist() == expected
    assert only_selected(causal, torch.arange(4).expand(1, 4, 4)) is causal


def test_small_added_numbers_are_a_bias() -> None:
    numbers = torch.tensor([[[[0.5, -3.0], [torch.finfo(torch.float32).min, 1.0]]]])
    visibility, added = split_mask(numbers, 1, 2, 2, torch.device("cpu"))
    assert visibility.table().tolist() == [[[True, True], [False, True]]]
    assert added is not None
    assert added.tolist() == [[[[0.5, -3.0], [0.0, 1.0]]]]


def test_without_mask_all_keys_are_visible() -> None:
    visibility, added = split_mask(None, 2, 3, 4, torch.device("cpu"))
    assert added is None
    assert visibility.is_full
    assert visibility.table().shape == (2, 3, 4)

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.ui.components.token_strip import CELL_LIMIT, TOKEN_LIMIT, pack
from tests.views.samples import make_attention, make_tokens


def unpack(data):
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    numbers = np.frombuffer(data[4 + length :], dtype="<u2")
    queries, keys = len(header["queries"]), len(header["keys"])
    weights = np.full((queries, keys), 65535)
    at = 2 * queries
    for row, (start, stop) in enumerate(numbers[:at].reshape(queries, 2).tolist()):
        weights[row, start:stop] = numbers[at : at + stop - start]
        at += stop - start
    assert at == len(numbers)
    return header, weights


def test_weights_arrive_to_four_decimals_and_masked_ones_apart():
    weights, scores = make_attention(12)
    weights = np.where(np.isneginf(scores), np.nan, weights)
    tokens = make_tokens(12)
    data, _ = pack(tokens, tokens, weights, selected=3)
    header, packed = unpack(data)
    assert ((packed == 65535) == np.isnan(weights)).all()
    seen = ~np.isnan(weights)
    assert packed[seen] / 65534 == pytest.approx(weights[seen], abs=1e-5)
    assert header["queries"] == list(tokens.labels)
    assert header["selected"] == 3
    assert header["same"] is True


def test_weights_outside_the_range_by_rounding_stay_inside():
    tokens = make_tokens(2)
    data, _ = pack(tokens, tokens, np.array([[1.0000001, -1e-9], [0.5, 0.5]]), selected=None)
    assert unpack(data)[1].tolist() == [[65534, 0], [32767, 32767]]


def test_two_texts_make_two_strips():
    weights = np.full((3, 5), 0.2)
    header, packed = unpack(pack(make_tokens(3), make_tokens(5), weights, selected=None)[0])
    assert header["same"] is False
    assert packed == pytest.approx(np.full((3, 5), 0.2 * 65534), abs=0.5)


def test_the_identity_follows_the_tokens_and_not_the_weights():
    one, other = make_tokens(3), make_tokens(3, ("a", "b", "c"))
    names = [
        pack(one, one, np.full((3, 3), 0.1), selected=None)[1],
        pack(one, one, np.full((3, 3), 0.2), selected=1)[1],
        pack(other, other, np.full((3, 3), 0.1), selected=None)[1],
        pack(one, other, np.full((3, 3), 0.1), selected=None)[1],
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_only_what_is_visible_travels_and_gaps_stay_masked():
    weights = np.array(
        [[np.nan, 0.5, np.nan, 0.5], [np.nan] * 4, [1.0, np.nan, np.nan, np.nan], [0.25] * 4]
    )
    tokens = make_tokens(4)
    data, _ = pack(tokens, tokens, weights, selected=None)
    _, packed = unpack(data)
    assert ((packed == 65535) == np.isnan(weights)).all()
    (length,) = struct.unpack("<I", data[:4])
    assert len(data) == 4 + length + 2 * (2 * 4 + 3 + 0 + 1 + 4)


def test_the_largest_strips_stay_below_three_hundred_kilobytes():
    tokens = make_tokens(TOKEN_LIMIT)
    causal = np.where(np.tri(TOKEN_LIMIT, dtype=bool), 0.1, np.nan)
    data, _ = pack(tokens, tokens, causal, selected=None)
    assert len(data) < 300_000
    both_ways = math.isqrt(CELL_LIMIT)
    tokens = make_tokens(both_ways)
    assert len(pack(tokens, tokens, np.zeros((both_ways, both_ways)), selected=None)[0]) < 300_000


def test_what_is_too_much_is_said():
    tokens, more = make_tokens(TOKEN_LIMIT), make_tokens(TOKEN_LIMIT + 1)
    with pytest.raises(InputError, match=r"512 tokens and 140,000 weights, and got 513 tokens"):
        pack(tokens, more, np.full((TOKEN_LIMIT, TOKEN_LIMIT + 1), np.nan), selected=None)
    with pytest.raises(InputError, match=r"512 tokens and 262,144 weights"):
        pack(tokens, tokens, np.zeros((TOKEN_LIMIT, TOKEN_LIMIT)), selected=None)


def test_errors_say_what_was_got():
    tokens = make_tokens(3)
    with pytest.raises(CaptureError, match=r"\(3, 2\).*= \(3, 3\)"):
        pack(tokens, tokens, np.zeros((3, 2)), selected=None)
    with pytest.raises(InputError, match="query 3; there are 3"):
        pack(tokens, tokens, np.zeros((3, 3)), selected=3)

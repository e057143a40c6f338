from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.ui.token_strip import TOKEN_LIMIT, pack
from tests.views.samples import make_attention, make_tokens


def unpack(data):
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    return header, np.frombuffer(data[4 + length :], dtype="<u2")


def test_weights_arrive_to_four_decimals_and_masked_ones_apart():
    weights, scores = make_attention(12)
    weights = np.where(np.isneginf(scores), np.nan, weights)
    tokens = make_tokens(12)
    data, _ = pack(tokens, tokens, weights, selected=3)
    header, packed = unpack(data)
    packed = packed.reshape(12, 12)
    assert ((packed == 65535) == np.isnan(weights)).all()
    seen = ~np.isnan(weights)
    assert packed[seen] / 65534 == pytest.approx(weights[seen], abs=1e-5)
    assert header["queries"] == list(tokens.labels)
    assert header["selected"] == 3
    assert header["same"] is True


def test_weights_outside_the_range_by_rounding_stay_inside():
    tokens = make_tokens(2)
    data, _ = pack(tokens, tokens, np.array([[1.0000001, -1e-9], [0.5, 0.5]]), selected=None)
    assert unpack(data)[1].tolist() == [65534, 0, 32767, 32767]


def test_two_texts_make_two_strips():
    weights = np.full((3, 5), 0.2)
    header, packed = unpack(pack(make_tokens(3), make_tokens(5), weights, selected=None)[0])
    assert header["same"] is False
    assert len(packed) == 15


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


def test_the_largest_strip_is_about_half_a_megabyte():
    tokens = make_tokens(TOKEN_LIMIT)
    weights = np.zeros((TOKEN_LIMIT, TOKEN_LIMIT))
    data, _ = pack(tokens, tokens, weights, selected=None)
    assert len(data) < 600_000
    more = make_tokens(TOKEN_LIMIT + 1)
    with pytest.raises(InputError, match="512 tokens and got 513"):
        pack(tokens, more, np.zeros((TOKEN_LIMIT, TOKEN_LIMIT + 1)), selected=None)


def test_errors_say_what_was_got():
    tokens = make_tokens(3)
    with pytest.raises(CaptureError, match=r"\(3, 2\).*= \(3, 3\)"):
        pack(tokens, tokens, np.zeros((3, 2)), selected=None)
    with pytest.raises(InputError, match="query 3; there are 3"):
        pack(tokens, tokens, np.zeros((3, 3)), selected=3)

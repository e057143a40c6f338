"""Numbers page: how attention works, and what every number means and does not mean."""

from __future__ import annotations

import inspect

import streamlit as st

from attnviz import metrics
from attnviz.metrics.registry import definition

__all__ = ["numbers_page"]

HOW = """
Each layer of a transformer has several **heads**, and each head decides for every token which
other tokens to read.

1. A token's vector is turned into three shorter ones: a **query** (what am I looking for?), a
   **key** (what do I offer?) and a **value** (what do I pass on?).
2. The **score** of token *j* for token *i* is the dot product of query *i* and key *j*, scaled by
   one over the square root of their length. Some models add a bias for the distance (T5) or turn
   the vectors by their position first (Llama).
3. Some pairs are masked: in a GPT a query sees no later key, and in no model does a query see
   padding.
4. A softmax turns each row of scores into **weights** that add up to one.
5. The output for token *i* is the average of all values, weighted.

attnviz keeps the queries, keys and values of the model's own forward pass and recomputes each
weight from them when you look at it, exactly: its maps agree with the library's own attention to
within a few millionths.
"""

READ = """
- **Rows look, columns are looked at.** A row adds up to one. Hatched cells may not be seen.
- **Weight is not influence.** A weight of 0.9 on a token with a tiny value vector passes on next
  to nothing. Many heads rest on a *sink* (the first token, [CLS], [SEP], a full stop) when they
  have nothing to say.
- **One text proves little.** A head may look like a previous-token head on a text without
  repetition and turn out to be an induction head on another. Try several.
- **Names start at zero.** L0·H0 is the first head of the first layer.
"""


def numbers_page() -> None:
    """Show the whole page."""
    st.header("How attention works", anchor=False)
    st.markdown(HOW)
    st.header("How to read the maps", anchor=False)
    st.markdown(READ)
    st.header("What the numbers mean", anchor=False)
    for name in metrics.names():
        what = metrics.describe(name)
        unit = f" ({what.unit})" if what.unit else " (a share, 0 to 1)"
        with st.expander(f"{what.label}{unit}"):
            st.markdown(what.meaning)
            st.text(inspect.cleandoc(definition(name)))
            st.caption(f"In Python: attnviz.metrics.per_head({name!r}, capture[kind])")

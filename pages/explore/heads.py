"""Explore: every head of a model on one text."""

from attnviz.ui import state
from attnviz.ui.badge import proof_badge
from attnviz.ui.explore import explore, read
from attnviz.ui.messages import explained

request = state.request()
with explained():
    read(request)
    explore(request)
    proof_badge(request)

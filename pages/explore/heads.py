"""Explore: every head of a model on one text."""

from attnviz.ui.explore.explore_page import explore, read
from attnviz.ui.explore.proof_badge import proof_badge
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

request = state.request()
with explained():
    read(request)
    explore(request)
    proof_badge(request)

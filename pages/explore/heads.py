"""Explore: every head of a model on one text."""

from attnviz.ui import state
from attnviz.ui.badge import proof_badge
from attnviz.ui.caches import captured
from attnviz.ui.explore import explore, notices
from attnviz.ui.messages import explained

request = state.request()
with explained():
    notices(captured(request))
    explore(request)
    proof_badge(request)

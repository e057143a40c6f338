"""Lines: BertViz's head view and model view of the text."""

from attnviz.ui.explore.explore_page import read
from attnviz.ui.explore.lines_page import lines
from attnviz.ui.explore.proof_badge import proof_badge
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

request = state.request()
with explained():
    read(request)
    lines(request)
    proof_badge(request)

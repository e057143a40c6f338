"""Lines: BertViz's head view and model view of the text."""

from attnviz.ui import state
from attnviz.ui.badge import proof_badge
from attnviz.ui.explore import read
from attnviz.ui.lines import lines
from attnviz.ui.messages import explained

request = state.request()
with explained():
    read(request)
    lines(request)
    proof_badge(request)

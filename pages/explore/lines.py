"""Lines: BertViz's head view and model view of the text."""

from attnviz.ui import state
from attnviz.ui.badge import proof_badge
from attnviz.ui.caches import captured
from attnviz.ui.explore import notices
from attnviz.ui.lines import lines
from attnviz.ui.messages import explained

with explained():
    capture = captured(state.request())
    notices(capture)
    lines(capture)
    proof_badge(state.request())

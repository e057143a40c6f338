"""Compare: two heads of any layer, text or model, side by side."""

from attnviz.ui import state
from attnviz.ui.badge import proof_badge
from attnviz.ui.compare import compare
from attnviz.ui.messages import explained

with explained():
    compare(state.request())
    proof_badge(state.request())

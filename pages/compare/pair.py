"""Compare: two heads of any layer, text or model, side by side."""

from attnviz.ui.compare.compare_page import compare
from attnviz.ui.explore.proof_badge import proof_badge
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

with explained():
    compare(state.request())
    proof_badge(state.request())

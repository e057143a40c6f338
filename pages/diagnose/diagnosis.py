"""Diagnose: which heads of a model are degenerate, with evidence, confirmed by experiment."""

from attnviz.ui.diagnose.diagnose_page import diagnose_page
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

with explained():
    diagnose_page(state.request().model)

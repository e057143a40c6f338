"""Diagnose: which heads of a model are degenerate, with evidence, confirmed by experiment."""

from attnviz.ui import state
from attnviz.ui.diagnose import diagnose_page
from attnviz.ui.messages import explained

with explained():
    diagnose_page(state.request().model)

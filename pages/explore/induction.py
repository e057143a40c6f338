"""Induction: a sequence twice, and which heads notice."""

from attnviz.ui.explore.induction_page import induction
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

with explained():
    induction(state.request())

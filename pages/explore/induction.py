"""Induction: a sequence twice, and which heads notice."""

from attnviz.ui import state
from attnviz.ui.induction import induction
from attnviz.ui.messages import explained

with explained():
    induction(state.request())

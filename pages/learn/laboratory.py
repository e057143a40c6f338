"""Laboratory: variants of efficient attention on a head."""

from attnviz.ui.laboratory.laboratory_page import laboratory
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

with explained():
    laboratory(state.request())

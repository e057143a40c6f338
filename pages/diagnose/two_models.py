"""Two models: what fine-tuning has done to each head."""

from attnviz.ui.diagnose.two_models_page import two_models_page
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained

with explained():
    two_models_page(state.request().model)

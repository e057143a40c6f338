"""Two models: what fine-tuning has done to each head."""

from attnviz.ui import state
from attnviz.ui.diagnose_two import two_models_page
from attnviz.ui.messages import explained

with explained():
    two_models_page(state.request().model)

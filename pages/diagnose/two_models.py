"""Two models: what fine-tuning has done to each head."""

from attnviz.ui.entry.page_table import show_page

show_page("two_models")

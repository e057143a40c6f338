"""Compare: two heads of any layer, text or model, side by side."""

from attnviz.ui.entry.page_table import show_page

show_page("pair")

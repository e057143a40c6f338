"""Laboratory: variants of efficient attention on a head."""

from attnviz.ui.entry.page_table import show_page

show_page("laboratory")

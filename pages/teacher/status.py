"""Status: how busy the server is."""

from attnviz.ui.entry.page_table import show_page

show_page("status")

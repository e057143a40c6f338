"""Generate: the text continued token by token."""

from attnviz.ui.entry.page_table import show_page

show_page("generate")

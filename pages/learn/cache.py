"""Cache: the cache of keys and values."""

from attnviz.ui.entry.page_table import show_page

show_page("cache")

"""Edit: heads switched off or scaled, rows forced, tokens hidden, and what changes."""

from attnviz.ui.entry.page_table import show_page

show_page("edit")

"""Lines: BertViz's head view and model view of the text."""

from attnviz.ui.entry.page_table import show_page

show_page("lines")

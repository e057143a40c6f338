"""Explore: every head of a model on one text."""

from attnviz.ui.entry.page_table import show_page

show_page("heads")

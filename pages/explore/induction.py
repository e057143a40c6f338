"""Induction: a sequence twice, and which heads notice."""

from attnviz.ui.entry.page_table import show_page

show_page("induction")

"""Diagnose: which heads of a model are degenerate, with evidence, confirmed by experiment."""

from attnviz.ui.entry.page_table import show_page

show_page("diagnosis")

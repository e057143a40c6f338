"""Patch: parts of a run on one text, put into the run on another one."""

from attnviz.ui.entry.page_table import show_page

show_page("patch")

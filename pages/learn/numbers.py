"""Learn: what every number on the screen means."""

from attnviz.ui.entry.page_table import show_page

show_page("numbers")

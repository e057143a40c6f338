"""Learn: lessons in which the user predicts before the truth is shown."""

from attnviz.ui.entry.page_table import show_page

show_page("lessons")

"""Learn: what every number on the screen means."""

from attnviz.ui.learn.numbers_page import learn

learn()

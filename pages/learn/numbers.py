"""Learn: what every number on the screen means."""

from attnviz.ui.learn import learn

learn()

"""Status: how busy the server is."""

from attnviz.ui.status import status_page

status_page()

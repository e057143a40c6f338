"""Status: how busy the server is."""

from attnviz.ui.server.status_page import status_page

status_page()

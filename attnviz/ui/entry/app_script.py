"""Script of the app for `attnviz app`: Streamlit runs it anew for every change on a page."""

from attnviz.ui.server import warm_up

if __name__ == "__main__":  # the name that Streamlit gives to its script
    warm_up.wait()
    from attnviz.ui.entry.navigation import show_app

    show_app()

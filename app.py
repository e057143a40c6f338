"""attnviz in a browser: `make app`, or `streamlit run app.py`."""

from pathlib import Path

from attnviz.ui.entry.navigation import show_app

show_app(Path(__file__).parent / "pages")

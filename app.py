"""attnviz in a browser: `make app`, or `streamlit run app.py`."""

import streamlit as st

from attnviz.ui.components.browser_theme import watch_theme
from attnviz.ui.diagnose.diagnose_page import OWN_TEXTS, model_only
from attnviz.ui.server.run_places import turn
from attnviz.ui.server.status_page import STATUS
from attnviz.ui.session import page_setup, sidebar, state
from attnviz.ui.session.lost_work import lost_work_notice

page_setup.page_setup()
page = st.navigation(
    [
        st.Page("pages/explore/heads.py", title="Explore", icon=":material/grid_on:", default=True),
        st.Page("pages/compare/pair.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/explore/lines.py", title="Lines", icon=":material/share:"),
        st.Page("pages/explore/induction.py", title="Induction", icon=":material/repeat:"),
        st.Page("pages/diagnose/diagnosis.py", title="Diagnose", icon=":material/stethoscope:"),
        st.Page("pages/diagnose/two_models.py", title="Two models", icon=":material/difference:"),
        st.Page("pages/learn/numbers.py", title="Learn", icon=":material/school:"),
        st.Page("pages/learn/laboratory.py", title="Laboratory", icon=":material/science:"),
        st.Page("pages/teacher/status.py", title="Status", visibility="hidden"),
    ],
    position="top",
)
if page.url_path == STATUS:
    page.run()  # without waiting for a turn: it shows how many wait
else:
    with turn():
        lost_work_notice()
        state.remember(model_only() if page.url_path in OWN_TEXTS else sidebar.sidebar())
        page.run()
watch_theme()

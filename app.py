"""attnviz in a browser: `make app`, or `streamlit run app.py`."""

import streamlit as st

from attnviz.ui import inputs, look, state
from attnviz.ui.diagnose import OWN_TEXTS, model_only
from attnviz.ui.lost_work import lost_work_notice
from attnviz.ui.serving import turn
from attnviz.ui.status import STATUS
from attnviz.ui.theme import watch_theme

look.page_setup()
page = st.navigation(
    [
        st.Page("pages/explore/heads.py", title="Explore", icon=":material/grid_on:", default=True),
        st.Page("pages/compare/pair.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/explore/lines.py", title="Lines", icon=":material/share:"),
        st.Page("pages/explore/induction.py", title="Induction", icon=":material/repeat:"),
        st.Page("pages/diagnose/diagnosis.py", title="Diagnose", icon=":material/stethoscope:"),
        st.Page("pages/diagnose/two_models.py", title="Two models", icon=":material/difference:"),
        st.Page("pages/learn/numbers.py", title="Learn", icon=":material/school:"),
        st.Page("pages/teacher/status.py", title="Status", visibility="hidden"),
    ],
    position="top",
)
if page.url_path == STATUS:
    page.run()  # without waiting for a turn: it shows how many wait
else:
    with turn():
        lost_work_notice()
        state.remember(model_only() if page.url_path in OWN_TEXTS else inputs.sidebar())
        page.run()
watch_theme()

"""User interface in Streamlit: controls, caches, state and the parts that pages are made of."""

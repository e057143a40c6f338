"""App as a whole: pages, navigation, settings, and the script that Streamlit runs."""

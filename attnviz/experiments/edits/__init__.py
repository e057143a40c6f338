"""Edits of what attention does, and their effects."""

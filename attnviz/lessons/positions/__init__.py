"""Lesson about positions: six encodings, and what each does to scores and outputs."""

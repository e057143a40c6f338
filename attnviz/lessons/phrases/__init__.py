"""Phrases of the lessons: labels, short values and errors into which numbers and tokens are put."""

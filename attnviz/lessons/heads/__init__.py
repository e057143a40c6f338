"""Lessons about heads: their patterns and their sum, and what removing one changes."""

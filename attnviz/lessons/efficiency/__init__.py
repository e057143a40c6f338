"""Lessons about the cost of attention: fewer pairs, tiles, other models, and the cache."""

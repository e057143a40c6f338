"""Predictions taken apart: heads' direct effects, composition of heads, layers' predictions."""

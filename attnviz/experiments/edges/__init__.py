"""Measures of single edges, from a key to a query of one head, beside their measured effect."""

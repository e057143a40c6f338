"""The doctor: which heads are degenerate, with evidence, confirmed by experiment."""

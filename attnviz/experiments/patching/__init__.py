"""Activation patching: parts of a run on one text, put into the run on another one."""

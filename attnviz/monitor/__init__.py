"""Attention while a model trains: what the heads do, every few steps, beside the loss."""

from attnviz.monitor.callback import AttentionMonitor
from attnviz.monitor.curves import COLLAPSED, FALLEN, ONSET, RECOVERED, Alarm

__all__ = ["COLLAPSED", "FALLEN", "ONSET", "RECOVERED", "Alarm", "AttentionMonitor"]

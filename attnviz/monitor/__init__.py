"""Attention while a model trains: what the heads do, every few steps, beside the loss."""

from attnviz.monitor.callback import AttentionMonitor
from attnviz.monitor.curves import COLLAPSED, FALLEN, ONSET, RECOVERED, Alarm
from attnviz.monitor.head_faults import FAULTS, Fault, HeadAlarm

__all__ = [
    "COLLAPSED",
    "FALLEN",
    "FAULTS",
    "ONSET",
    "RECOVERED",
    "Alarm",
    "AttentionMonitor",
    "Fault",
    "HeadAlarm",
]

"""Diagnosis of heads: labels with evidence, and verdicts by removal.

diagnosis = attnviz.diagnose(model)
diagnosis.table                       # one row per head
diagnosis.findings[0].sentences       # what is said of it, and why
"""

from attnviz.doctor.comparison import Comparison
from attnviz.doctor.diagnosis import Diagnosis, TextsRead
from attnviz.doctor.examination import diagnose
from attnviz.doctor.labels.label_changes import Change
from attnviz.doctor.labels.thresholds import THRESHOLDS, Limit, Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.descriptions import describe
from attnviz.doctor.two_models import compare
from attnviz.experiments.text_sets import Text, TextSet, as_text_set, bundled, read_texts

__all__ = [
    "THRESHOLDS",
    "Change",
    "Comparison",
    "Diagnosis",
    "Limit",
    "Measures",
    "Text",
    "TextSet",
    "TextsRead",
    "Thresholds",
    "as_text_set",
    "bundled",
    "compare",
    "describe",
    "diagnose",
    "read_texts",
]

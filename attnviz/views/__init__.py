"""Figures: numbers in, `plotly` figures (or HTML) out; nothing is shown or written."""

from attnviz.views.charts.binned_rows import draw_row_bins
from attnviz.views.charts.row_bars import draw_rows
from attnviz.views.diagnosis.ablation_bars import draw_ablation
from attnviz.views.diagnosis.entropy_ridges import draw_entropy_by_layer
from attnviz.views.diagnosis.label_colors import label_colors
from attnviz.views.diagnosis.label_map import draw_label_map
from attnviz.views.diagnosis.received_weight import draw_received
from attnviz.views.maps.difference_map import draw_difference
from attnviz.views.maps.head_map import draw_head_map
from attnviz.views.maps.induction_figures import draw_loss, draw_scores_by_head, draw_stripe
from attnviz.views.maps.lens_map import draw_lens
from attnviz.views.maps.vector_maps import draw_products, draw_vectors
from attnviz.views.maps.weight_map import draw_weights
from attnviz.views.report.diagnosis_report import draw_report
from attnviz.views.style.plotly_config import CONFIG, plot_config
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, palette

__all__ = [
    "CONFIG",
    "Theme",
    "apply",
    "draw_ablation",
    "draw_difference",
    "draw_entropy_by_layer",
    "draw_head_map",
    "draw_label_map",
    "draw_lens",
    "draw_loss",
    "draw_products",
    "draw_received",
    "draw_report",
    "draw_row_bins",
    "draw_rows",
    "draw_scores_by_head",
    "draw_stripe",
    "draw_vectors",
    "draw_weights",
    "escape_label",
    "label_colors",
    "palette",
    "plot_config",
]

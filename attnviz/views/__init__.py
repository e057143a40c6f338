"""Figures: numbers in, `plotly` figures (or HTML) out; nothing is shown or written."""

from attnviz.views.ablation import draw_ablation
from attnviz.views.config import CONFIG, plot_config
from attnviz.views.difference import draw_difference
from attnviz.views.entropy_by_layer import draw_entropy_by_layer
from attnviz.views.head_map import draw_head_map
from attnviz.views.induction import draw_loss, draw_scores_by_head, draw_stripe
from attnviz.views.label_colors import label_colors
from attnviz.views.label_map import draw_label_map
from attnviz.views.labels import escape_label
from attnviz.views.received import draw_received
from attnviz.views.report import draw_report
from attnviz.views.row_bins import draw_row_bins
from attnviz.views.rows import draw_rows
from attnviz.views.theme import Theme, apply, palette
from attnviz.views.vectors import draw_products, draw_vectors
from attnviz.views.weights import draw_weights

__all__ = [
    "CONFIG",
    "Theme",
    "apply",
    "draw_ablation",
    "draw_difference",
    "draw_entropy_by_layer",
    "draw_head_map",
    "draw_label_map",
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

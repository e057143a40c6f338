"""Test files that `make check` leaves out: each takes more than six seconds on two idle cores.

To measure anew: run the whole suite with `--junitxml=FILE` and add up the times of each file.
`make check` should stay under two minutes. Browser tests have a marker of their own.
"""

from __future__ import annotations

__all__ = ["SLOW_FILES"]

SLOW_FILES = frozenset(
    f"tests/{name}.py"
    for name in (
        "app/test_bad_input",
        "app/test_cache_page",
        "app/test_diagnose",
        "app/test_edge_panel",
        "app/test_edit",
        "app/test_explore",
        "app/test_generate",
        "app/test_laboratory",
        "app/test_large_inputs",
        "app/test_long_texts",
        "app/test_not_finite",
        "app/test_other_texts",
        "app/test_patch",
        "app/test_plain_text",
        "doctor/test_ablation",
        "doctor/test_comparison",
        "doctor/test_cost_weighting",
        "doctor/test_diagnosis",
        "doctor/test_not_finite",
        "doctor/test_planted_faults",
        "doctor/test_strongest_texts",
        "engine/test_additions",
        "engine/test_equal_library",
        "engine/test_pretended_gpu",
        "engine/test_threads",
        "experiments/test_cache_saving",
        "experiments/test_decomposition",
        "experiments/test_generation",
        "experiments/test_unshared_albert",
        "hostile/test_concurrent_loads",
        "hostile/test_folders",
        "hostile/test_messages",
        "lessons/test_cache_scenes",
        "lessons/test_lesson_texts",
        "metrics/test_definitions",
        "models/test_classes",
        "models/test_downloads",
        "models/test_settings",
        "monitor/test_processes",
        "monitor/test_refusals",
        "monitor/test_reporting",
        "monitor/test_training",
        "monitor/test_untouched",
        "test_architectures",
        "test_workers",
        "training/test_bars",
    )
)

"""Heads of a diagnosis by what their removal showed, and as lists for pruning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnviz.doctor.diagnosis import Diagnosis
from attnviz.doctor.report_data import without_nan
from attnviz.findings import Finding
from attnviz.removals import kept_heads, prunable_heads, removal_cost, removals
from attnviz.whole_files import write_whole

__all__ = ["pruning_file", "write_pruning_file"]


def pruning_file(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what may be pruned, what is better removed and what is needed, for JSON.

    "prune_heads" has one entry per kind: {layer: [head, ...]}, the form that `prune_heads` of the
    transformers library took before version 5 (layers as strings, since JSON has no other keys),
    with the heads whose removal lowers the loss or makes no difference. One head of each group
    that does the same is left out of it, under "kept" (`kept_heads`). The costs are of each head
    alone; "all_together" is the change of the loss without all heads of "prune_heads" at once,
    None if it was not measured for this list. "notes" are those of the diagnosis.
    """
    effects = removals(diagnosis.findings)
    kept, heads = kept_heads(diagnosis.findings), prunable_heads(diagnosis.findings)
    kinds: dict[str, dict[str, list[int]]] = {}
    for head in heads:
        kinds.setdefault(head.kind, {}).setdefault(str(head.layer), []).append(head.head)
    tried = diagnosis.experiments
    together = tried.pruning if set(heads) == set(tried.pruned) else None
    return {
        "model": diagnosis.model.name,
        "revision": diagnosis.model.revision,
        "texts": {"name": diagnosis.texts.name, "digest": diagnosis.texts.digest},
        "removed": "one head at a time",
        "notes": list(diagnosis.notes),
        "prune_heads": {
            kind: {layer: sorted(heads) for layer, heads in sorted(layers.items())}
            for kind, layers in kinds.items()
        },
        "all_together": None if together is None else without_nan(asdict(together)),
        "kept": _costs([one for one in diagnosis.findings if one.head in kept]),
        **{name: _costs(getattr(effects, name)) for name in (
            "better_without", "no_difference", "needed", "unclear")},
    }  # fmt: skip


def write_pruning_file(diagnosis: Diagnosis, path: str | Path) -> None:
    """Write `pruning_file` as JSON."""
    write_whole(path, json.dumps(pruning_file(diagnosis), indent=1, allow_nan=False) + "\n")


def _costs(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.head.kind,
            "layer": one.head.layer,
            "head": one.head.head,
            "cost": removal_cost(one),
        }
        for one in findings
    ]

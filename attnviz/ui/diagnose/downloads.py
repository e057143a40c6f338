"""Files and pictures that the pages Diagnose and Two models save."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attnviz.doctor import Comparison, Diagnosis
from attnviz.doctor.pruning import pruning_file
from attnviz.findings import Finding
from attnviz.spreadsheets import as_csv
from attnviz.ui.components.save_menu import SavedFile, SavedPicture, save_menu
from attnviz.ui.diagnose.head_evidence import head_numbers
from attnviz.views.style.plotly_config import safe_filename

__all__ = ["save_comparison", "save_diagnosis"]


def save_diagnosis(diagnosis: Diagnosis, finding: Finding, label_map: str) -> None:
    """Show the menu of everything a diagnosis can be saved as.

    Args:
        diagnosis: what is shown.
        finding: of the head whose evidence is shown.
        label_map: key of the map of labels.
    """
    model = diagnosis.model.name
    name = f"{safe_filename(f'attnviz-diagnosis-{model}')}-{diagnosis.texts.digest[:8]}"
    files = [
        _report(diagnosis.html, key="diagnosis:html", filename=name),
        _table(
            diagnosis.csv,
            key="diagnosis:csv",
            filename=name,
            explanation="A line per head with every number, and what is needed to make it again.",
        ),
        _everything(
            diagnosis.plain,
            key="diagnosis:json",
            filename=name,
            explanation="Everything that was measured and decided, for programs.",
        ),
    ]
    files.append(
        SavedFile(
            f"All numbers of {finding.head.label} (CSV)",
            lambda: as_csv(head_numbers(diagnosis, finding)).encode("utf-8-sig"),
            key="diagnosis:head",
            filename=f"attnviz-diagnosis-L{finding.head.layer}H{finding.head.head}.csv",
            mime="text/csv",
            icon=":material/table:",
        )
    )
    if any(one.ablation for one in diagnosis.findings):
        files.append(
            SavedFile(
                "Heads to prune (JSON)",
                lambda: json.dumps(pruning_file(diagnosis), indent=1).encode(),
                key="diagnosis:prune",
                filename=f"{safe_filename(f'attnviz-prune-{model}')}.json",
                mime="application/json",
                icon=":material/content_cut:",
                explanation="Layers and heads whose removal lowers the loss or makes no "
                "difference, as a list of heads per layer, with the cost of removing all of them "
                "at once.",
            )
        )
    pictures = [_label_map(label_map, "Labels of all heads")]
    save_menu(files, pictures + _evidence_pictures(finding), key="diagnosis:save")


def save_comparison(comparison: Comparison, before: str, after: str, divergence: str) -> None:
    """Show the menu of everything a comparison can be saved as.

    Args:
        comparison: what is shown.
        before: key of the map of labels of the first model.
        after: key of that of the second.
        divergence: key of the map of divergences.
    """
    first, second = comparison.first.model.name, comparison.second.model.name
    name = safe_filename(f"attnviz-{first}-{second}")
    files = [
        _report(comparison.html, key="two:html", filename=name),
        _table(
            lambda: as_csv(comparison.table),
            key="two:csv",
            filename=name,
            explanation="A line per head with both labels and every number.",
        ),
        _everything(
            comparison.plain,
            key="two:json",
            filename=name,
            explanation="Both diagnoses and what has changed, for programs.",
        ),
    ]
    pictures = [
        _label_map(before, f"Labels of {first}"),
        _label_map(after, f"Labels of {second}"),
        SavedPicture("How far each head has moved", divergence, "attnviz-divergence"),
    ]
    save_menu(files, pictures, key="two:save")


def _label_map(key: str, title: str) -> SavedPicture:
    """Return the entry of a map of labels."""
    return SavedPicture(title, key, f"attnviz-{key.replace('_', '-')}")


def _evidence_pictures(finding: Finding) -> list[SavedPicture]:
    """Return the entries of the pictures beside the sentences on a head."""
    head = finding.head
    by_place = f"attnviz-weight-by-place-L{head.layer}H{head.head}"
    pictures = [
        SavedPicture("Entropy by layer", "diagnosis_entropy", "attnviz-entropy-by-layer"),
        SavedPicture(f"Weight by place, {head.label}", "diagnosis_received", by_place),
    ]
    if finding.ablation:
        cost = SavedPicture(
            "Cost of removing heads", "diagnosis_ablation", "attnviz-cost-of-removing"
        )
        pictures.append(cost)
    return pictures


def _report(html: Callable[[], str], *, key: str, filename: str) -> SavedFile:
    """Return the entry of a report; `filename` has no ending."""
    return SavedFile(
        "Report (HTML)",
        lambda: html().encode(),
        key=key,
        filename=f"{filename}.html",
        mime="text/html",
        icon=":material/description:",
        explanation="One file that opens without a network, in light and dark, and prints. Your "
        "texts are not in it, only their number and their digest.",
    )


def _table(csv: Callable[[], str], *, key: str, filename: str, explanation: str) -> SavedFile:
    """Return the entry of a table with a line per head; `filename` has no ending."""
    return SavedFile(
        "Table of all heads (CSV)",
        lambda: csv().encode("utf-8-sig"),
        key=key,
        filename=f"{filename}.csv",
        mime="text/csv",
        icon=":material/table:",
        explanation=explanation,
    )


def _everything(
    plain: Callable[[], Any], *, key: str, filename: str, explanation: str
) -> SavedFile:
    """Return the entry of all plain values; `filename` has no ending."""
    return SavedFile(
        "Everything (JSON)",
        lambda: json.dumps(plain(), ensure_ascii=False, allow_nan=False).encode(),
        key=key,
        filename=f"{filename}.json",
        mime="application/json",
        icon=":material/data_object:",
        explanation=explanation,
    )

"""Process that trains together with others: `python -m tests.monitor.one_process FOLDER`.

The environment says which one, as torchrun does. What each saw is written to `FOLDER/<rank>.json`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import torch

from attnviz import AttentionMonitor
from tests.monitor.runs import Notes, small_gpt, trainer
from tests.monitor.test_refusals import small_bloom


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    notes, monitor = Notes(), AttentionMonitor(every=2)
    options = {"ddp_backend": "gloo", "ddp_find_unused_parameters": False}
    run = trainer(small_gpt(), folder, [notes, monitor], steps=5, batch=2, **options)
    run.train()
    warned: list[str] = []
    log = logging.getLogger("attnviz.monitor")
    log.addFilter(lambda record: warned.append(record.getMessage()) or True)
    aside = trainer(small_bloom(), folder, [AttentionMonitor()], steps=2, batch=2, **options)
    aside.train()
    weights = torch.cat([one.flatten() for one in run.model.parameters()])
    report = {
        "processes": run.args.world_size,
        "wrapped": type(run.model_wrapped).__name__,
        "logged": [step for step, logged in notes.logged if "attention/entropy/L0" in logged],
        "steps": [int(step) for step in monitor.history.index],
        "entropy": monitor.history["attention/entropy/L0"].tolist(),
        "weights": weights.sum(dtype=torch.float64).item(),
        "warned": warned,
        "trained": aside.state.global_step,
    }
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

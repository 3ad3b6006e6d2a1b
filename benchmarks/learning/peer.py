"""One peer as a process of its own: ``python -m benchmarks.learning.peer``, under ``swarm up``.

``DATA_DIR`` has the plan and the samples of the site. ``MODEL_DIR`` gets the report and the model that the site holds,
in addition to what Swarm writes there.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.learning.plan import Plan
from benchmarks.learning.site import Report, arguments, train
from benchmarks.learning.training import Trainee, copied
from swarm import SwarmCallback
from swarm.demo.sites import Samples

PLAN = "plan.json"
REPORT = "report.json"
SITE = "site.safetensors"
PARTS = ("train", "validation")


def main() -> None:
    """Train."""
    data, results = Path(os.environ["DATA_DIR"]), Path(os.environ["MODEL_DIR"])
    given = json.loads((data / PLAN).read_text(encoding="utf-8"))
    plan = Plan.read(given["plan"])
    samples, validation = (_load(data / f"{part}.npz") for part in PARTS)
    torch.set_num_threads(1)
    trainee, report = Trainee.of(plan, samples, given["classes"], given["seed"], given["rank"]), Report()
    callback = SwarmCallback(**arguments(plan, samples, validation, trainee, report))
    train(plan, trainee, callback, report)
    save_file(copied(trainee.model), results / SITE)
    (results / REPORT).write_text(json.dumps(asdict(report)), encoding="utf-8")


def _load(path: Path) -> Samples:
    with np.load(path, allow_pickle=False) as arrays:  # noqa: TID251 - allow_pickle=False
        return Samples(arrays["x"], arrays["y"])


if __name__ == "__main__":
    main()

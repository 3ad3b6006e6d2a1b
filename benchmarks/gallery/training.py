"""Trains one example from one seed: at each site alone, in a swarm, and on all data pooled."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.gallery.data import SITES
from benchmarks.gallery.entries import Entry
from benchmarks.harness.workers import ROOT
from swarm.cli.environment import ONE_THREAD
from swarm.demo.processes import Job, run_all

EXAMPLES = ROOT / "examples"
BATCH = 32
"""Samples of a batch at each site: the default of the scripts."""
AT_ONCE = 2
"""Trainings outside the swarm that run at a time."""
TIMEOUT = 1200.0
"""Most seconds of one training."""
TOGETHER = {"SWARM_MIN_PEERS": str(SITES), "SWARM_BELOW_QUORUM": "wait"}
"""Each round has all sites, however slow the machine is, so that a run can be repeated."""

Run = dict[str, Any]
"""What was measured from one seed, as ``train`` describes it."""


def train(entry: Entry, seed: int, directory: Path, say: Callable[[str], None], options: tuple[str, ...] = ()) -> Run:
    """Train it in all three ways, in real processes.

    Args:
        entry: what to train.
        seed: of the data, the initial weights and the order of samples.
        directory: gets data, models and logs.
        say: called with a line about each training that has ended.
        options: more options of the script.

    Returns:
        ``seed``; by site its ``names``, ``samples``, the scores ``alone`` and ``swarm``, and ``bytes_sent``; the score
        ``pooled``; and ``rounds``.

    Raises:
        DemoError: a training failed or took too long.
        RuntimeError: the swarm merged nothing, or ended with models that differ.
    """
    divided = entry.load(seed)
    divided.write(directory / "data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **ONE_THREAD, **environment, **entry.variables}
    command = [sys.executable, str(EXAMPLES / entry.script), *entry.options, "--seed", str(seed), *options]

    def single(name: str, data: str, batch: int, rank: int) -> Job:
        place = {"SWARM_LOOPBACK": "true", "SWARM_RANK": str(rank), "MODEL_DIR": str(directory / name)}
        place["DATA_DIR"] = str(directory / "data" / data)
        size = ["--batch-size", str(batch)]
        return Job(name=name, command=[*command, *size], environment=environment | place, directory=directory / name)

    alone = [single(f"alone-{rank}", f"peer-{rank}", BATCH, rank) for rank in range(SITES)]
    pooled = [single(f"pooled-{batch}", "pooled", batch, 0) for batch in (BATCH, SITES * BATCH)]
    up = [sys.executable, "-m", "swarm.cli", "up", "-n", str(SITES)]
    paths = ["--data-dir", str(directory / "data"), "--model-dir", str(directory / "swarm")]
    together = Job(
        name="swarm",
        command=[*up, *paths, "--", *command],
        environment=environment | TOGETHER,
        directory=directory / "swarm",
    )

    def finished(job: Job, took: float) -> None:
        say(f"{entry.name}, seed {seed}: {job.name}, {took:.0f} s")

    run_all([*alone, *pooled], at_once=AT_ONCE, timeout=TIMEOUT, finished=finished)
    run_all([together], at_once=1, timeout=TIMEOUT, finished=finished)
    swarm = [_result(directory / "swarm" / f"peer-{rank}") for rank in range(SITES)]
    rounds = min(int(each["metrics"]["swarm_rounds"]) for each in swarm)
    if rounds < 1 or len({each["digest"] for each in swarm}) != 1:
        raise RuntimeError(f"{entry.name}, seed {seed}: no round, or models that differ; see {together.log}")
    return {
        "seed": seed,
        "names": list(divided.names),
        "samples": [len(samples) for samples in divided.train],
        "alone": [round(_result(job.directory)[entry.score], 4) for job in alone],
        "swarm": [round(each[entry.score], 4) for each in swarm],
        "pooled": round(max(_result(job.directory)[entry.score] for job in pooled), 4),
        "rounds": rounds,
        "bytes_sent": [int(each["metrics"]["swarm_bytes_sent"]) for each in swarm],
    }


def means(run: Run) -> tuple[float, float, float]:
    """The scores of a run: the mean of the sites alone, the mean of the sites in the swarm, and pooled."""
    return fmean(run["alone"]), fmean(run["swarm"]), run["pooled"]


def _result(directory: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    return result

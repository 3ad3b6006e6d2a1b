"""The swarm as real processes, which ``swarm up`` starts and which merge over gRPC with encryption."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from benchmarks.harness.workers import ROOT, user_environment
from benchmarks.learning import models
from benchmarks.learning.arms import Trained
from benchmarks.learning.data import Problem
from benchmarks.learning.peer import PARTS, PLAN, REPORT, SITE
from benchmarks.learning.peers import DEADLINE, everyones
from benchmarks.learning.plan import Plan
from benchmarks.learning.site import Report
from swarm.cli.environment import ONE_THREAD
from swarm.demo.sites import site_directory
from swarm.storage.files import FINAL


def swarm(plan: Plan, problem: Problem, seed: int) -> tuple[Trained, list[Report]]:
    """Train with all peers in processes of their own.

    Raises:
        RuntimeError: a peer failed, or they did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="swarm-learning-") as temporary:
        data, results = Path(temporary, "data"), Path(temporary, "results")
        _write(plan, problem, seed, data)
        up = [sys.executable, "-m", "swarm.cli", "up", "-n", str(plan.peers), "--no-table"]
        places = ["--data-dir", str(data), "--model-dir", str(results)]
        command = [*up, *places, "--", sys.executable, "-m", "benchmarks.learning.peer"]
        environment = {**ONE_THREAD, **user_environment(), "SWARM_LOG": "warning"}
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
            )
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"swarm up ended with {error.returncode}:\n{error.stdout}{error.stderr}") from error
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"swarm up did not end within {DEADLINE:g} s") from error
        places_of = [site_directory(results, rank) for rank in range(plan.peers)]
        reports = [Report(**json.loads((place / REPORT).read_text(encoding="utf-8"))) for place in places_of]
        sites = []
        for place in places_of:
            model = models.build(plan.model, problem.shape, problem.classes, seed)
            model.load_state_dict(load_file(place / SITE))
            sites.append(model)
        common = everyones(plan, problem, seed, load_file(places_of[0] / FINAL))
    return Trained(common, sites, [report.steps for report in reports]), reports


def _write(plan: Plan, problem: Problem, seed: int, data: Path) -> None:
    for rank, site in enumerate(problem.sites):
        directory = site_directory(data, rank)
        directory.mkdir(parents=True)
        given = {"plan": asdict(plan), "seed": seed, "rank": rank, "classes": problem.classes}
        (directory / PLAN).write_text(json.dumps(given), encoding="utf-8")
        for part, samples in zip(PARTS, (site.train, site.validation), strict=True):
            np.savez(directory / f"{part}.npz", x=samples.x, y=samples.y)

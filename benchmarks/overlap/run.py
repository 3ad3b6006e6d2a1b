"""Starts the peers of one invocation and takes in what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.overlap.plan import Plan
from swarm.cli.environment import ONE_THREAD

ROOT = Path(__file__).parents[2]
DEADLINE = 600.0
"""Seconds for one invocation."""
ARMS = ("blocking", "overlapped")

Arms = dict[str, dict[str, list[float]]]
"""Of each arm, the lists of ``benchmarks.overlap.peer.Arm``."""


def measure(plan: Plan, arms: Sequence[str] = ARMS) -> Arms:
    """New processes go through the arms in the given order; what all peers measured, together.

    Raises:
        RuntimeError: a peer could not go on, or not in time.
    """
    with tempfile.TemporaryDirectory(prefix="swarm-overlap-") as directory:
        logs = [Path(directory) / f"{rank}.log" for rank in range(plan.peers)]
        processes: list[subprocess.Popen[str]] = []
        try:
            for rank, log in enumerate(logs):
                told = {"plan": asdict(plan), "rank": rank, "rendezvous": directory, "arms": arms}
                processes.append(_started(told, log))
            ends = time.monotonic() + DEADLINE
            return _together([_heard(process, log, ends) for process, log in zip(processes, logs, strict=True)])
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _started(told: dict[str, Any], log: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.overlap.peer"],
            cwd=ROOT,
            env={**environment, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    if process.stdin:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
    return process


def _heard(process: subprocess.Popen[str], log: Path, ends: float) -> Arms:
    try:
        output, _ = process.communicate(timeout=max(ends - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        output = ""
    if process.returncode or not output:
        text = log.read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"a peer could not go on:\n{text[-4000:]}")
    arms: Arms = json.loads(output.splitlines()[-1])
    return arms


def _together(peers: Sequence[Arms]) -> Arms:
    return {
        arm: {what: [value for peer in peers for value in peer[arm][what]] for what in first}
        for arm, first in peers[0].items()
    }

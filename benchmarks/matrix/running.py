"""Runs the sites of a row, and judges what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.harness.workers import ROOT, user_environment
from benchmarks.matrix.rows import PROGRAMS, Row, Site

NAMES = ("ada", "bob", "cyd")
DEADLINE = 300.0
"""Seconds for a row."""
_MODEL = re.compile(r"^MODEL (\w+) (\d+)$", re.MULTILINE)
_DIGEST = re.compile(r"closing model of (\d+) peers loaded, digest (\w+)")


def run(row: Row, directory: Path) -> dict[str, Any]:
    """Run a row; its figures, and why it failed."""
    directory.mkdir()
    started = time.monotonic()
    processes = []
    logs = [directory / f"{name}.log" for name, _ in zip(NAMES, row.sites, strict=False)]
    try:
        for name, site, log in zip(NAMES, row.sites, logs, strict=False):
            with log.open("wb") as output:
                processes.append(_start(name, site, row, directory, output))
        codes = [_wait(process, started + DEADLINE) for process in processes]
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - started
    texts = [log.read_text(errors="replace") for log in logs]
    return {"row": row.name, "seconds": round(seconds, 1), **judged(row, codes, texts)}


def judged(row: Row, codes: Sequence[int | None], texts: Sequence[str]) -> dict[str, Any]:
    """What the sites of a row have said.

    Args:
        row: what was run.
        codes: how each site ended; None if it did not.
        texts: what each said.
    """
    closing = [_DIGEST.findall(text) for text in texts]
    models = [_MODEL.findall(text) for text in texts]
    digests = {digest for each in closing for _, digest in each}
    hashes = {found for each in models for found, _ in each}
    faults = []
    if any(codes):
        faults.append(f"exit codes {', '.join(map(str, codes))}")
    if None in codes:
        faults.append(f"not over after {DEADLINE:.0f} s")
    if any(len(each) != 1 or int(each[0][0]) != len(row.sites) for each in closing):
        faults.append("no closing model of all sites")
    if any(len(each) != site.processes for each, site in zip(models, row.sites, strict=True)):
        faults.append("a process did not tell its model")
    if len(digests) > 1 or len(hashes) > 1:
        faults.append("different models")
    rounds = [int(number) for each in models for _, number in each]
    if min(rounds, default=0) < 1:
        faults.append("a site merged no round")
    return {"passed": not faults, "why": "; ".join(faults), "rounds": max(rounds, default=0), "digests": len(digests)}


def _start(name: str, site: Site, row: Row, directory: Path, output: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable]
    if site.processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={site.processes}"]
    command += [str(PROGRAMS / f"{site.program}.py"), *site.arguments]
    settings: Mapping[str, object] = {
        "name": name,
        "members": ",".join(NAMES[: len(row.sites)]),
        "rendezvous": directory / "rendezvous",
        "model_dir": directory / name,
        "sync_interval": 4,
        "straggler_timeout": 60,
        "start_timeout": 240,
        "log": "info",
    }
    environment = {**user_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    environment |= {f"SWARM_{key.upper()}": str(value) for key, value in settings.items()}
    return subprocess.Popen(
        command, cwd=ROOT, env={**environment, **site.environment}, stdout=output, stderr=output, start_new_session=True
    )


def _wait(process: subprocess.Popen[bytes], until: float) -> int | None:
    try:
        return process.wait(max(until - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return None

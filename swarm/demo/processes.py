"""Runs the processes of a demo, a few at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import DemoError

KILL_AFTER = 10.0
"""Seconds in which a process that has to end may do so by itself."""

_TICK = 0.05
_SHOWN_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A process to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    """Where it runs; ``log.txt`` there gets its output."""

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.directory / "log.txt"


def run_all(
    jobs: Sequence[Job],
    *,
    at_once: int,
    timeout: float,
    finished: Callable[[Job, float], None],
    watch: Callable[[Mapping[str, float]], None] = lambda _: None,
) -> None:
    """Run all jobs, at most ``at_once`` at a time; after an error, none is left running.

    Args:
        jobs: in the order in which they start.
        at_once: how many run at a time.
        timeout: most seconds of each.
        finished: called with each job that succeeded, and the seconds that it took.
        watch: called many times per second with the jobs that run, and the seconds for which each has.

    Raises:
        DemoError: a job failed or took too long.
    """
    waiting = list(jobs)
    running: list[tuple[Job, subprocess.Popen[bytes], float]] = []
    """Each with the time of its start."""
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running.append((job, _start(job), time.monotonic()))
            for entry in list(running):
                job, process, began = entry
                seconds = time.monotonic() - began
                if process.poll() is None and seconds < timeout:
                    continue
                if process.poll() != 0:
                    raise DemoError(_why(job, process.returncode, timeout))
                running.remove(entry)
                finished(job, seconds)
            watch({job.name: time.monotonic() - began for job, _, began in running})
            time.sleep(_TICK)
    finally:
        for _, process, _ in running:
            process.terminate()
        for _, process, _ in running:
            try:
                process.wait(KILL_AFTER)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(job: Job) -> subprocess.Popen[bytes]:
    job.directory.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            job.command,
            cwd=job.directory,
            env=dict(job.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _why(job: Job, code: int | None, timeout: float) -> str:
    what = f"did not end within {timeout:.0f} s" if code is None else f"failed with exit code {code}"
    last = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    return "\n".join([f"the training {job.name!r} {what}; the end of {job.log}:", *(f"  {line}" for line in last)])

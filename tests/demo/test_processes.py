"""Processes of a demo run a few at a time, and none is left running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from swarm.demo.processes import Job, run_all
from swarm.errors import DemoError


def job(directory: Path, name: str, code: str) -> Job:
    return Job(
        name=name, command=[sys.executable, "-c", code], environment=dict(os.environ), directory=directory / name
    )


def run(jobs: list[Job], timeout: float = 60) -> list[str]:
    ended: list[str] = []
    run_all(jobs, at_once=2, timeout=timeout, finished=lambda finished: ended.append(finished.name))
    return ended


def test_all_run_and_keep_what_they_printed(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, f"print('this is {name}')") for name in "abc"]
    assert sorted(run(jobs)) == ["a", "b", "c"]
    assert [one.log.read_text() for one in jobs] == ["this is a\n", "this is b\n", "this is c\n"]


def test_no_more_than_asked_run_at_a_time(tmp_path: Path) -> None:
    code = (
        "import pathlib, time\n"
        "mine = pathlib.Path('../running') / pathlib.Path.cwd().name\n"
        "mine.touch()\n"
        "time.sleep(0.2)\n"
        "print(len(list(mine.parent.iterdir())))\n"
        "mine.unlink()\n"
    )
    (tmp_path / "running").mkdir()
    jobs = [job(tmp_path, name, code) for name in "abcd"]
    run(jobs)
    assert max(int(one.log.read_text()) for one in jobs) <= 2


def test_a_failure_is_reported_with_the_end_of_its_log_and_ends_the_others(tmp_path: Path) -> None:
    failing = job(tmp_path, "failing", "print('the reason'); raise SystemExit(3)")
    endless = job(tmp_path, "endless", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    with pytest.raises(DemoError, match=r"'failing' failed with exit code 3(?s:.*)the reason"):
        run([endless, failing])
    if text := endless.log.read_text():
        with pytest.raises(ProcessLookupError):
            os.kill(int(text), 0)


def test_a_training_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    endless = job(tmp_path, "endless", "import time; time.sleep(600)")
    with pytest.raises(DemoError, match="'endless' did not end within 1 s"):
        run([endless], timeout=1)

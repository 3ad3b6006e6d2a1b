"""Processes of a demo run a few at a time, and none is left running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from swarm.demo import processes
from swarm.demo.processes import Job, run_all
from swarm.errors import DemoError


def job(directory: Path, name: str, code: str) -> Job:
    return Job(
        name=name, command=[sys.executable, "-c", code], environment=dict(os.environ), directory=directory / name
    )


def run(jobs: list[Job], timeout: float = 60) -> list[str]:
    ended: list[str] = []
    run_all(jobs, at_once=2, timeout=timeout, finished=lambda finished, _: ended.append(finished.name))
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


ENDLESS = """
import os, pathlib, signal, sys, time
def leave(number, frame):
    print("asked to end", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print(os.getpid(), flush=True)
pathlib.Path("ready").touch()
time.sleep(600)
"""
FAILING = """
import pathlib, time
while not pathlib.Path("../endless/ready").exists():
    time.sleep(0.01)
print(*range(30), sep="\\n")
raise SystemExit(3)
"""


def test_a_failure_is_reported_with_the_end_of_its_log_and_ends_the_others(tmp_path: Path) -> None:
    failing, endless = job(tmp_path, "failing", FAILING), job(tmp_path, "endless", ENDLESS)
    with pytest.raises(DemoError) as raised:
        run([endless, failing])
    first, *shown = str(raised.value).splitlines()
    assert first == f"the training 'failing' failed with exit code 3; the end of {failing.log}:"
    assert shown == [f"  {number}" for number in range(15, 30)]
    number, last = endless.log.read_text().splitlines()
    assert last == "asked to end"
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_a_training_that_does_not_end_when_asked_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "KILL_AFTER", 0.01)
    stubborn = job(tmp_path, "endless", ENDLESS.replace("    sys.exit()\n", ""))
    with pytest.raises(DemoError, match="exit code 3"):
        run([stubborn, job(tmp_path, "failing", FAILING)])
    number, *_ = stubborn.log.read_text().splitlines()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_a_training_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    endless = job(tmp_path, "endless", "import time; time.sleep(600)")
    with pytest.raises(DemoError, match="'endless' did not end within 1 s"):
        run([endless], timeout=1)

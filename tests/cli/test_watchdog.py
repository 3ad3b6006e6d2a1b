from __future__ import annotations

import signal
import subprocess

from swarm.cli import watchdog


def test_groups_that_ended_are_not_touched():
    assert watchdog.watch(["12\n", "13\n", "-12\n"]) == {13}


def test_a_group_that_is_gone_is_no_error():
    child = subprocess.Popen(["/bin/sh", "-c", "exit 0"], process_group=0)
    child.wait()

    watchdog.end([child.pid], kill_after=0)


def test_a_group_that_stays_is_killed_after_the_kill_after():
    child = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
        process_group=0,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()

    watchdog.end([child.pid], kill_after=0.1)

    assert child.wait(timeout=30) == -signal.SIGKILL
    child.stdout.close()

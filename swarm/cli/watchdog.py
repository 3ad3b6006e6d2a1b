"""Ends the peers of ``swarm up`` when their launcher has ended for any reason.

Run as a file by the launcher, in a session of its own and with the standard library only. It reads process groups
from its standard input, ``<group>`` to watch one and ``-<group>`` to forget it, and knows from the end of that input
that the launcher has ended: what is still watched then gets SIGTERM and, after a time to end, SIGKILL.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

_TICK = 0.05


def watch(lines: Iterable[str]) -> set[int]:
    """The process groups that are still registered at the end of ``lines``."""
    groups: set[int] = set()
    for line in lines:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    return groups


def end(groups: Iterable[int], kill_after: float) -> None:
    """Send SIGTERM to each group, and after ``kill_after`` seconds SIGKILL to those that still exist."""
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + kill_after
    while left and time.monotonic() < deadline:
        time.sleep(_TICK)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to the group; return whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(kill_after: str, *directories: str) -> None:
    """Wait until the launcher has ended, then end its peers and remove its directories."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(watch(sys.stdin), float(kill_after))
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

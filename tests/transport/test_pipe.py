"""What is received through a pipe has to keep up a rate."""

from __future__ import annotations

import pytest

from swarm.errors import UnreachablePeerError
from swarm.transport.pipe import SLOWEST, Pipe, received

TIMEOUT = 10.0


class Steps:
    """A clock on which each wait takes ``seconds``."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._readings = 0

    def now(self):
        self._readings += 1
        return self._readings // 2 * self._seconds


def through(count, size, seconds):
    """What arrives of ``count`` items of ``size`` bytes that are waited for for some seconds each."""
    pipe = Pipe(count)
    for _ in range(count):
        pipe.put(bytes(size))
    pipe.end()
    return len(list(received(pipe, "ann", TIMEOUT, Steps(seconds))))


def test_a_source_that_sends_a_byte_now_and_then_is_too_slow():
    with pytest.raises(UnreachablePeerError, match="ann sends too slowly: 3 bytes in 12 s"):
        through(9, 1, 4.0)


def test_a_slow_source_is_read_to_its_end():
    assert through(50, SLOWEST, 1.0) == 50
    assert through(50, 1000, 0.1) == 50

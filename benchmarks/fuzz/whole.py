"""A whole peer under changed calls, streams and connections, and whether it still serves honest ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.fuzz.attacks import Ally, Attacks
from benchmarks.harness.workers import Workers, user_environment
from swarm.cli.environment import ONE_THREAD
from swarm.transport.grpc import GrpcTransport
from tests.fuzz.memory import highest

HONEST_EVERY = 20
"""Attacks between two honest calls."""
GREETING = 30.0
"""Seconds in which the peer must have started."""
BOUND = 128 << 20
"""Bytes by which the peer's memory may grow."""


def fuzz(seconds: float, seed: int, port: int) -> dict[str, Any]:
    """Attack a new peer on ``port`` for so many seconds; the figures.

    Raises:
        RuntimeError: it did not start.
    """
    environment = {**user_environment(), **ONE_THREAD}
    ally, transport = Ally(), GrpcTransport()
    own = transport.start(ally)
    try:
        with Workers("benchmarks.fuzz.peer", environment=environment, deadline=60.0) as workers:
            address = f"127.0.0.1:{port}"
            workers.all("begin", address=address, other=own)
            _wait_for(ally)
            assert ally.greeting is not None  # noqa: S101 - it was waited for
            attacks = Attacks(address, own, ally.greeting, seed)
            try:
                return _attacked(workers, attacks, seconds)
            finally:
                attacks.close()
    finally:
        transport.close(0.0)


def _wait_for(ally: Ally) -> None:
    until = time.monotonic() + GREETING
    while ally.greeting is None:
        if time.monotonic() > until:
            raise RuntimeError(f"the peer sent no greeting within {GREETING:g} s")
        time.sleep(0.02)


def _attacked(workers: Workers, attacks: Attacks, seconds: float) -> dict[str, Any]:
    status = Path(f"/proc/{workers.pid(0)}/status")
    attacks.honest()
    before = highest(status)
    executions = made = honest = 0
    failures: list[str] = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds and not failures:
        executions += attacks.attack()
        made += 1
        if made % HONEST_EVERY == 0:
            honest += 1
            failure = attacks.honest()
            failures += [f"after {made} attacks an honest call failed: {failure}"] if failure else []
    taken = time.monotonic() - begun
    report = workers.all("report")[0]  # raises if the process has ended
    return {
        "seconds": round(taken, 1),
        "executions": executions,
        "attacks": made,
        "honest_calls": honest,
        "failures": failures,
        "errors": report["errors"],
        "sessions": report["sessions"],
        "rounds": report["rounds"],
        "max_rss": highest(status),
        "growth": highest(status) - before,
    }

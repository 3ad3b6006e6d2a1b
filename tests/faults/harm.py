"""What can befall a peer from within its own process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from grpc._cython import cygrpc

from swarm.config import Settings
from swarm.consensus import waiting
from swarm.messages import Accept, Accepted, Decide, Envelope, Message, Propose, Ready
from swarm.plugins import PluginRegistry
from swarm.records import ContributionStats
from swarm.session import pending
from swarm.session.wiring import Network, network_of
from swarm.storage import files

HALF_A_DAY = 43200.0
ROUND = 4
"""The round in which a peer dies that does so while it trains."""
FLUSH = 0.3
"""Seconds in which a message that was queued leaves for sure."""


def _closing(message: Message) -> bool:
    match message:
        case Propose() | Accept():
            return message.proposal.closing
        case Decide():
            return message.commit.closing
    return False


MOMENTS: dict[str, Callable[[Message], bool]] = {
    "decided": lambda message: isinstance(message, Decide) and message.commit.round == ROUND,
    "accepted": lambda message: isinstance(message, Accepted) and message.round == ROUND,
    "ready": lambda message: isinstance(message, Ready) and message.round == ROUND,
    "closing-proposed": lambda message: isinstance(message, Propose) and _closing(message),
    "closing-asked": lambda message: isinstance(message, Accept) and _closing(message),
    "closing-decided": lambda message: isinstance(message, Decide) and _closing(message),
}
"""Messages instead of which a peer dies; with ``-once`` behind the name, the first such message still leaves."""


def network(moment: str, token: Path | None) -> Callable[[Settings, PluginRegistry], Network]:
    """The usual network, in which this process dies instead of sending a message of that kind."""
    if not moment:
        return network_of
    name, once, _ = moment.partition("-once")
    mine = False

    def deadly(settings: Settings, plugins: PluginRegistry) -> Network:
        usual = network_of(settings, plugins)
        send = usual.transport.send

        def last(address: str, envelope: Envelope) -> None:
            nonlocal mine
            if not MOMENTS[name](envelope.message):
                send(address, envelope)
                return
            mine = mine or _take(token)
            if not mine or once:
                send(address, envelope)
            if mine:
                time.sleep(FLUSH if once else 0.0)
                os.kill(os.getpid(), signal.SIGKILL)

        usual.transport.send = last  # type: ignore[method-assign]
        return usual

    return deadly


def _take(token: Path | None) -> bool:
    """Whether this process is the one to die."""
    if token is None:
        return True
    try:
        token.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def lie(most: float) -> None:
    """Let this peer say that its weights have never moved by more than ``most``."""
    measured = pending.measured

    def told(*given: Any) -> ContributionStats:
        stats = measured(*given)
        return replace(stats, delta_norm=min(stats.delta_norm, most))

    pending.measured = told  # type: ignore[assignment]


def disk(seconds: float) -> None:
    """Let every file take so long to get to the disk."""
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(seconds)
        fsync(descriptor)

    files.os.fsync = slow


def clock() -> None:
    """Let the time of day jump to and fro at every look.

    Not gRPC's: it holds against the kernel's clock, which no test may set, what it reads in Python.
    """
    now, chance = time.time, random.Random(0)
    cygrpc.time = SimpleNamespace(time=now)

    def jumping() -> float:
        return now() + chance.uniform(-HALF_A_DAY, HALF_A_DAY)

    time.time = jumping


def talkative(seconds: float) -> None:
    """Let a long wait be told of more often."""
    waiting.LINE_EVERY = seconds

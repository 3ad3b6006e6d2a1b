"""What is done to peers, when, and what comes of it."""

from __future__ import annotations

import enum
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.fleet.journal import Event, What
from benchmarks.fleet.processes import Fleet, Moment
from benchmarks.fleet.rounds import recovery
from benchmarks.fleet.sockets import cut

PATIENCE = 30.0
"""Seconds beyond three times ``failure_timeout`` after which a peer, or the whole, counts as hung."""


class Kind(enum.StrEnum):
    """A fault."""

    KILL = "kill"
    """SIGKILL; once the others have recovered, a new process takes up the name."""
    FREEZE = "freeze"
    """SIGSTOP; SIGCONT some time after the others have recovered."""
    DISCONNECT = "disconnect"
    """All its TCP connections are shut down, again and again for a while."""


_SIGNALS = {Kind.KILL: signal.SIGKILL, Kind.FREEZE: signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to come."""

    kind: Kind
    victim: str
    phase: float
    """When it comes, as a share of the usual period of rounds."""
    in_exchange: bool = False
    """Whether it then waits until the victim exchanges weights."""
    hold: float
    """Seconds for which it lasts; for a kill and a freeze, beyond the others' recovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What came of a fault."""

    fault: Fault
    at: float
    recovery: float | None
    """Seconds until the others had merged without the victim; None if they did not."""
    back: float | None
    """When the victim was last let go on: a new process began to join, or the fault ended."""
    contributed: float | None
    """When it first contributed after that; None if it did not."""

    @property
    def hung(self) -> bool:
        """Whether somebody waited for ever."""
        return self.recovery is None or self.contributed is None


def plan(counts: dict[Kind, int], victims: dict[Kind, Sequence[str]], seed: int) -> list[Fault]:
    """So many faults of each kind, in random order, spread evenly over the victims; every second is in an exchange."""
    chance = random.Random(seed)  # noqa: S311
    faults = []
    for kind, count in counts.items():
        turn = list(victims[kind]) * -(-count // len(victims[kind]))
        names = turn[:count]
        chance.shuffle(names)
        faults += [
            Fault(
                kind=kind,
                victim=name,
                phase=chance.random(),
                in_exchange=number % 2 == 1,
                hold=chance.uniform(0.1, 0.7),
            )
            for number, name in enumerate(names)
        ]
    chance.shuffle(faults)
    return faults


def settled(fleet: Fleet) -> bool:
    """Wait until all peers have merged together from now on; False if they do not."""
    everyone, now = {*fleet.training.names}, fleet.now()

    def together() -> bool:
        rounds = (event for event in fleet.since(now) if event.what is What.ROUND)
        return everyone <= {event.peer for event in rounds if everyone <= {*event.group}}

    return fleet.wait(together, _patience(fleet))


def strike(fleet: Fleet, fault: Fault, period: float) -> Struck:
    """Wait for the phase, do what the fault says, wait for what comes of it, and mend it.

    Args:
        fleet: all of its peers train together.
        fault: to happen.
        period: usual seconds from round to round.
    """
    fleet.let(fault.phase * period)
    if fault.in_exchange:
        start = fleet.now()
        _first(fleet, start, lambda event: event.peer == fault.victim and event.what is What.EXCHANGES)
    struck = fleet.now()
    if fault.kind is Kind.DISCONNECT:
        _keep_cut(fleet, fault.victim, fault.hold)
    else:
        fleet.signal(fault.victim, _SIGNALS[fault.kind])
    recovered = _recovery(fleet, fault, struck)
    back: float | None
    if fault.kind is Kind.DISCONNECT:
        back = struck.at + fault.hold
    else:
        fleet.let(fault.hold)
        back = _restart(fleet, fault.victim) if fault.kind is Kind.KILL else _thaw(fleet, fault.victim)
    contributed = None if back is None else _contribution(fleet, fault.victim, Moment(back, struck.read))
    return Struck(fault=fault, at=struck.at, recovery=recovered, back=back, contributed=contributed)


def _keep_cut(fleet: Fleet, name: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        cut(fleet.pid(name))
        fleet.let(0.0)


def _thaw(fleet: Fleet, name: str) -> float:
    at = time.monotonic()
    fleet.signal(name, signal.SIGCONT)
    return at


def _restart(fleet: Fleet, name: str) -> float | None:
    """When the new process began to join; None if it never did."""
    started = fleet.now()
    fleet.start(name)
    return _first(fleet, started, lambda event: event.peer == name and event.what is What.BEGINS)


def _contribution(fleet: Fleet, name: str, back: Moment) -> float | None:
    """When a peer first contributed after ``back``; None if it did not."""

    def contributes(event: Event) -> bool:
        return event.peer == name and event.what is What.ROUND and name in event.contributors

    return _first(fleet, back, contributes)


def _first(fleet: Fleet, after: Moment, wanted: Callable[[Event], bool]) -> float | None:
    """Wait for an event; when it happened, None if it did not."""
    if not fleet.wait(lambda: any(map(wanted, fleet.since(after))), _patience(fleet)):
        return None
    return min(event.at for event in fleet.since(after) if wanted(event))


def _recovery(fleet: Fleet, fault: Fault, struck: Moment) -> float | None:
    without = fault.victim if fault.kind is not Kind.DISCONNECT else None
    others = frozenset(fleet.training.names) - {fault.victim}

    def seconds() -> float | None:
        return recovery(fleet.since(struck), struck.at, others, without=without)

    fleet.wait(lambda: seconds() is not None, _patience(fleet))
    return seconds()


def _patience(fleet: Fleet) -> float:
    return PATIENCE + 3 * fleet.training.failure_timeout

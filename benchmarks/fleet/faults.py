"""Faults: what is done to a peer, when, and what it causes."""

from __future__ import annotations

import enum
import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.fleet.journal import What
from benchmarks.fleet.processes import Fleet, Moment
from benchmarks.fleet.rounds import recovery
from benchmarks.fleet.sockets import cut

HANG_SECONDS = 30.0
"""A peer, or the fleet, hangs if it does not go on in this time plus three times ``failure_timeout``."""


class Kind(enum.StrEnum):
    """A kind of fault."""

    KILL = "kill"
    """SIGKILL; once the others have recovered, a new process starts with the same name."""
    FREEZE = "freeze"
    """SIGSTOP; SIGCONT some time after the others have recovered."""
    DISCONNECT = "disconnect"
    """All its TCP connections are shut down, again and again for some time."""


_SIGNALS = {Kind.KILL: signal.SIGKILL, Kind.FREEZE: signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to inject."""

    kind: Kind
    victim: str
    phase: float
    """When it is injected: a fraction of the usual period of rounds."""
    in_exchange: bool = False
    """Whether it then waits until the victim exchanges weights."""
    hold: float
    """Seconds for which it lasts; for a kill and a freeze, after the others' recovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fault caused."""

    fault: Fault
    at: float
    """When it was injected."""
    recovery: float | None
    """Seconds until the others had merged without the victim; None if they did not."""
    back: float | None
    """When the victim could go on: its new process began to join, or the fault ended. None if it never did."""
    contributed: float | None
    """When it first contributed after that; None if it did not."""

    @property
    def absence(self) -> float | None:
        """Seconds from ``back`` to ``contributed``."""
        return None if self.contributed is None or self.back is None else self.contributed - self.back

    @property
    def hung(self) -> bool:
        """Whether somebody waited too long."""
        return self.recovery is None or self.contributed is None

    def __str__(self) -> str:
        """For a log."""
        recovery, absence = (
            "never" if each is None else f"after {each:.2f} s" for each in (self.recovery, self.absence)
        )
        return f"{self.fault.kind} {self.fault.victim}: the others recovered {recovery}, it contributed {absence}"


def schedule(counts: Mapping[Kind, int], victims: Mapping[Kind, Sequence[str]], seed: int) -> list[Fault]:
    """So many faults of each kind, in random order, with each victim equally often; every second is in an exchange."""
    chance = random.Random(seed)  # noqa: S311 - no secret depends on it
    faults = []
    for kind, count in counts.items():
        names = (list(victims[kind]) * -(-count // len(victims[kind])))[:count]
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


def all_merged(fleet: Fleet) -> bool:
    """Wait for a round of all peers that ends after now, at all of them; False if there is none in time."""
    everyone, now = {*fleet.training.names}, fleet.now()

    def together() -> bool:
        rounds = (event for event in fleet.since(now) if event.what is What.ROUND)
        return everyone <= {event.peer for event in rounds if everyone <= {*event.group}}

    return fleet.wait(together, _limit(fleet))


def inject(fleet: Fleet, fault: Fault, period: float) -> Effect:
    """Wait for the phase, inject the fault, wait for the others' recovery, end the fault, wait for the victim.

    Args:
        fleet: all of its peers train together.
        fault: what to inject.
        period: usual seconds from round to round.
    """
    fleet.run_for(fault.phase * period)
    if fault.in_exchange:
        _first(fleet, fleet.now(), fault.victim, What.EXCHANGES)
    injected = fleet.now()
    if fault.kind is Kind.DISCONNECT:
        _keep_cut(fleet, fault.victim, fault.hold)
    else:
        fleet.signal(fault.victim, _SIGNALS[fault.kind])
    recovered = _recovery(fleet, fault, injected)
    back: float | None
    if fault.kind is Kind.DISCONNECT:
        back = injected.at + fault.hold
    else:
        fleet.run_for(fault.hold)
        back = _end(fleet, fault)
    after = None if back is None else Moment(back, injected.read)
    contributed = None if after is None else _first(fleet, after, fault.victim, What.ROUND, contributes=True)
    return Effect(fault=fault, at=injected.at, recovery=recovered, back=back, contributed=contributed)


def _keep_cut(fleet: Fleet, name: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        cut(fleet.pid(name))
        fleet.run_for(0.0)


def _end(fleet: Fleet, fault: Fault) -> float | None:
    """End a kill or a freeze; returns when the victim could go on, None if its new process did not begin to join."""
    ended = fleet.now()
    if fault.kind is Kind.FREEZE:
        fleet.signal(fault.victim, signal.SIGCONT)
        return ended.at
    fleet.start(fault.victim)
    return _first(fleet, ended, fault.victim, What.BEGINS)


def _first(fleet: Fleet, after: Moment, name: str, what: What, *, contributes: bool = False) -> float | None:
    """Wait for an event of a peer, or for a round to which it contributes; None if there is none in time."""

    def times() -> list[float]:
        events = (event for event in fleet.since(after) if event.peer == name and event.what is what)
        return [event.at for event in events if not contributes or name in event.contributors]

    return min(times()) if fleet.wait(lambda: bool(times()), _limit(fleet)) else None


def _recovery(fleet: Fleet, fault: Fault, injected: Moment) -> float | None:
    without = fault.victim if fault.kind is not Kind.DISCONNECT else None
    others = frozenset(fleet.training.names) - {fault.victim}

    def seconds() -> float | None:
        return recovery(fleet.since(injected), injected.at, others, without=without)

    fleet.wait(lambda: seconds() is not None, _limit(fleet))
    return seconds()


def _limit(fleet: Fleet) -> float:
    return HANG_SECONDS + 3 * fleet.training.failure_timeout

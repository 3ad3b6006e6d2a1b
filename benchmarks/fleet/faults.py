"""Faults: what is done to a peer, when, and what it causes."""

from __future__ import annotations

import enum
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.fleet.journal import Event, What
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
    chance = random.Random(seed)  # noqa: S311
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
        _first(fleet, fleet.now(), lambda event: event.peer == fault.victim and event.what is What.EXCHANGES)
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
        back = _restart(fleet, fault.victim) if fault.kind is Kind.KILL else _resume(fleet, fault.victim)
    contributed = None if back is None else _contribution(fleet, fault.victim, Moment(back, injected.read))
    return Effect(fault=fault, at=injected.at, recovery=recovered, back=back, contributed=contributed)


def _keep_cut(fleet: Fleet, name: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        cut(fleet.pid(name))
        fleet.run_for(0.0)


def _resume(fleet: Fleet, name: str) -> float:
    at = time.monotonic()
    fleet.signal(name, signal.SIGCONT)
    return at


def _restart(fleet: Fleet, name: str) -> float | None:
    """When the new process began to join; None if it did not."""
    started = fleet.now()
    fleet.start(name)
    return _first(fleet, started, lambda event: event.peer == name and event.what is What.BEGINS)


def _contribution(fleet: Fleet, name: str, back: Moment) -> float | None:
    """When a peer first contributed after ``back``; None if it did not."""

    def contributes(event: Event) -> bool:
        return event.peer == name and event.what is What.ROUND and name in event.contributors

    return _first(fleet, back, contributes)


def _first(fleet: Fleet, after: Moment, wanted: Callable[[Event], bool]) -> float | None:
    """Wait for an event; returns when it happened, None if it did not in time."""
    if not fleet.wait(lambda: any(map(wanted, fleet.since(after))), _limit(fleet)):
        return None
    return min(event.at for event in fleet.since(after) if wanted(event))


def _recovery(fleet: Fleet, fault: Fault, injected: Moment) -> float | None:
    without = fault.victim if fault.kind is not Kind.DISCONNECT else None
    others = frozenset(fleet.training.names) - {fault.victim}

    def seconds() -> float | None:
        return recovery(fleet.since(injected), injected.at, others, without=without)

    fleet.wait(lambda: seconds() is not None, _limit(fleet))
    return seconds()


def _limit(fleet: Fleet) -> float:
    return HANG_SECONDS + 3 * fleet.training.failure_timeout

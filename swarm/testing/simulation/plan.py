"""What will happen in one run: peers, settings, and faults, all drawn from a seed."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from swarm.records import PeerId, PeerStatus

CHECKIN_MODES = (PeerStatus.INACTIVE, PeerStatus.SNAPSHOT, PeerStatus.ACTIVE)


class FaultKind(enum.StrEnum):
    """What goes wrong."""

    CRASH = "crash"
    """A process dies; connections to it break."""
    CRASH_DECIDING = "crash_deciding"
    """The next process to commit a round dies before it tells anybody."""
    RESTART = "restart"
    """A process dies and comes back as a new incarnation without memory."""
    FREEZE = "freeze"
    """A process stands still, then goes on as if nothing had been."""
    PARTITION = "partition"
    """Two sides cannot reach each other for a while."""
    DEAF = "deaf"
    """Messages to and from a process are lost for a while; streams of weights go on."""
    DEAF_DECIDING = "deaf_deciding"
    """When next a round is committed, one of its group goes deaf."""
    SLOW = "slow"
    """Exchanges take long for a while."""
    BROKEN = "broken"
    """Exchanges fail for a while, each blamed on a random member."""
    LOSSY = "lossy"
    """A third of all messages is lost for a while."""
    LEAVE = "leave"
    """A process leaves politely in the middle of training."""
    BOAST = "boast"
    """A peer claims more weight than it joined with."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``peers`` are those it strikes; of a partition, one side."""

    kind: FaultKind
    at: float
    peers: tuple[PeerId, ...] = ()
    seconds: float = 0.0

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.seconds


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """One peer's training."""

    name: PeerId
    starts: float
    intervals: int
    """Sync points before it has finished."""
    pace: float
    """Seconds of an interval."""
    checkin: PeerStatus
    weightage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One run."""

    seed: int
    peers: tuple[PeerPlan, ...]
    faults: tuple[Fault, ...]
    min_peers: int
    expected: int
    averaging: bool
    wait_below_quorum: bool
    grace: float | None
    failure_timeout: float = 2.0
    start_timeout: float = 40.0
    delay: float = 0.02
    """Mean seconds a message takes."""
    loss: float = 0.0
    duplicates: float = 0.0
    transfer: float = 0.2
    """Seconds an undisturbed exchange takes at most."""
    poisoned: float = 0.0
    """Probability that a capture holds NaN."""

    @property
    def calm_from(self) -> float:
        """When the last fault is over."""
        return max([fault.end for fault in self.faults], default=0.0)


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = random.Random(seed)  # noqa: S311
    count = 16 if rng.random() < 0.1 else rng.choice((2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9))
    names = tuple(f"p{number:02}" for number in range(count))
    crowd = count > 9  # which says a great deal in little time
    longest = 1 if crowd else rng.randint(3, 5)
    together = rng.random() < 0.3
    peers = tuple(
        PeerPlan(
            name=name,
            starts=rng.random() if rng.random() < 0.9 else rng.uniform(2, 8),
            intervals=longest if together else rng.randint(1, longest),
            pace=rng.uniform(0.3, 0.9) if crowd or rng.random() < 0.85 else rng.uniform(1.5, 4),
            checkin=rng.choice(CHECKIN_MODES),
            weightage=rng.choice((1, 1, 1, 2, 5)),
        )
        for name in names
    )
    majority = count // 2 + 1
    return Schedule(
        seed=seed,
        peers=peers,
        faults=_faults(rng, names, 2.0 + longest * 1.2),
        min_peers=rng.choice((majority, majority, majority, 1, count)),
        expected=count if rng.random() < 0.7 else 0,
        averaging=rng.random() < 0.7,
        wait_below_quorum=rng.random() < 0.25,
        grace=rng.choice((0.3, 0.6, 1.0, 1.0, 2.0)) if rng.random() < 0.9 else None,
        delay=rng.choice((0.002, 0.01, 0.03, 0.1)),
        loss=rng.choice((0.0, 0.0, 0.0, 0.01, 0.1)),
        duplicates=rng.choice((0.0, 0.0, 0.02, 0.2)),
        transfer=rng.choice((0.05, 0.2, 0.5)),
        poisoned=rng.choice((0.0, 0.0, 0.0, 0.1)),
    )


def _faults(rng: random.Random, names: tuple[PeerId, ...], until: float) -> tuple[Fault, ...]:
    faults = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        kind = rng.choice(tuple(FaultKind))
        at = rng.uniform(0.2, until)
        some = tuple(sorted(rng.sample(names, rng.randint(1, max(1, len(names) // 2)))))
        one = (rng.choice(names),)
        match kind:
            case FaultKind.PARTITION:
                faults.append(Fault(kind, at, some, rng.choice((0.5, 3.0, 6.0, 12.0))))
            case FaultKind.DEAF:
                faults.append(Fault(kind, at, one, rng.choice((0.5, 1.5, 4.0))))
            case FaultKind.DEAF_DECIDING:
                faults.append(Fault(kind, at, (), rng.choice((0.5, 2.0, 6.0))))
            case FaultKind.FREEZE:
                faults.append(Fault(kind, at, one, rng.choice((0.5, 1.5, 4.0, 9.0))))
            case FaultKind.RESTART:
                faults.append(Fault(kind, at, one, rng.choice((0.05, 0.5, 4.0))))
            case FaultKind.SLOW | FaultKind.BROKEN | FaultKind.LOSSY:
                faults.append(Fault(kind, at, (), rng.uniform(0.5, 3.0)))
            case FaultKind.CRASH_DECIDING:
                faults.append(Fault(kind, at, (), rng.choice((0.0, 0.5, 2.0))))
            case _:
                faults.append(Fault(kind, at, one))
    return tuple(sorted(faults, key=lambda fault: fault.at))

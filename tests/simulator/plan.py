"""What will happen in one run: peers, settings, and faults, all drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from swarm.records import PeerId, PeerStatus
from tests.simulator.faults import Fault, FaultKind, draw_faults

CHECKIN_MODES = (PeerStatus.INACTIVE, PeerStatus.SNAPSHOT, PeerStatus.ACTIVE)
SESSION, OTHER_SESSION = "simulated", "another"


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """One peer's training."""

    name: PeerId
    starts: float
    intervals: int
    """Sync points before it has finished."""
    pace: float
    """Seconds of an interval as long as the first."""
    checkin: PeerStatus
    weight: int
    session: str = SESSION


STRANGERS = tuple(PeerPlan(name, 0.0, 3, 0.5, PeerStatus.SNAPSHOT, 1, OTHER_SESSION) for name in ("q00", "q01"))
"""The peers of the other session, where there is one; both are needed for its rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One run."""

    seed: int
    peers: tuple[PeerPlan, ...]
    faults: tuple[Fault, ...]
    min_peers: int
    expected: int
    averaging: bool
    adaptive: bool
    """Whether the interval follows the peers' validation losses."""
    wait_below_quorum: bool
    straggler_timeout: float | None
    failure_timeout: float = 2.0
    start_timeout: float = 40.0
    checkpoint_seconds: float = 0.0
    """Least seconds between two checkpoints of a process."""
    delay: float = 0.02
    """Mean seconds a message takes."""
    loss: float = 0.0
    duplicates: float = 0.0
    transfer: float = 0.2
    """Seconds an undisturbed exchange takes at most."""
    poisoned: float = 0.0
    """Probability that an interval of training gives NaN."""
    overlap: bool = False
    """Whether training goes on while a round runs."""
    codec: str = "exact"
    """How weights travel."""
    extends: bool = False
    """Whether a peer that has trained its own intervals trains on until all have."""
    largest_share: float = 1.0
    """The largest share of the weight of a round that a peer may have: 1 or a half."""
    optimizer: bool = False
    """Whether models have an optimizer, whose moments are merged."""
    outer: bool = False
    """Whether committed models have the state of an outer optimizer. Its steps give the merged weights."""
    judges: bool = False
    """Whether the best model is kept; no schedule is drawn with it."""
    liars: tuple[PeerId, ...] = ()
    """Members that lie from the beginning."""
    twins: bool = True
    """Whether each of them runs twice."""
    tolerated: int = 0
    """How many of them the settings tolerate."""

    @property
    def excess(self) -> bool:
        """Whether more members lie than the settings tolerate: then honest ones may disagree, and find out who lied."""
        return len(self.liars) > self.tolerated

    @property
    def calm_from(self) -> float:
        """When the last fault is over."""
        return max([fault.end for fault in self.faults], default=0.0)

    @property
    def slowest_clock(self) -> float:
        """Rate of the slowest clock there will be."""
        return min([1.0, *(fault.amount for fault in self.faults if fault.kind is FaultKind.CLOCK_DRIFT)])


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = random.Random(seed)
    count = 16 if rng.random() < 0.03 else rng.choice((2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9))
    names = tuple(f"p{number:02}" for number in range(count))
    many = count > 9  # which says a great deal in little time
    longest = 1 if many else rng.randint(1, 3) if count > 5 else rng.choice((3, 4, 5, 6, 10))
    together = rng.random() < 0.3
    peers = tuple(
        PeerPlan(
            name=name,
            starts=rng.random() if rng.random() < 0.9 else rng.uniform(2, 8),
            intervals=longest if together else rng.randint(1, longest),
            pace=rng.uniform(0.3, 0.9) if many or rng.random() < 0.5 else rng.uniform(0.9, 3),
            checkin=rng.choice(CHECKIN_MODES),
            weight=rng.choice((1, 1, 1, 2, 5, 0)),
        )
        for name in names
    )
    majority = count // 2 + 1
    return Schedule(
        seed=seed,
        peers=peers,
        faults=draw_faults(rng, names, 2.0 + longest * 1.5),
        min_peers=rng.choice((majority, majority, majority, 1, count)),
        expected=count if rng.random() < 0.7 else 0,
        averaging=rng.random() < 0.7,
        adaptive=rng.random() < 0.3,
        wait_below_quorum=rng.random() < 0.25,
        straggler_timeout=rng.choice((0.3, 0.6, 1.0, 1.0, 2.0)) if rng.random() < 0.9 else None,
        checkpoint_seconds=rng.choice((0.0, 0.5, 2.0)),
        delay=rng.choice((0.002, 0.01, 0.03, 0.1)),
        loss=rng.choice((0.0, 0.0, 0.0, 0.01, 0.1)),
        duplicates=rng.choice((0.0, 0.0, 0.02, 0.2)),
        transfer=rng.choice((0.05, 0.2, 0.5)),
        poisoned=rng.choice((0.0, 0.0, 0.0, 0.1)),
        overlap=rng.random() < 0.3,
        codec=rng.choice(("exact", "exact", "bf16", "int8")),
        extends=rng.random() < 0.3,
        largest_share=0.5 if rng.random() < 0.2 else 1.0,
        optimizer=seed % 16 == 6,
        outer=seed % 16 == 11,
    )


def draw_liars(seed: int) -> Schedule:
    """The schedule of a seed in which members lie: as many as are tolerated, or, with every third seed, one more."""
    rng = random.Random(f"liars/{seed}")
    excess = seed % 3 == 2
    tolerated = rng.choice((0, 0, 1)) if excess else rng.choice((1, 1, 1, 2))
    least = 3 * tolerated + 1 if tolerated else 2
    count = rng.choice((3, 3, 5, 4, 2)) if tolerated == 0 else rng.randint(least, least + 2)
    names = tuple(f"p{number:02}" for number in range(count))
    lying = tolerated + 1 if excess else tolerated
    quorum = (count + tolerated) // 2 + 1
    intervals = rng.randint(3, 6)
    peers = tuple(
        PeerPlan(
            name=name,
            starts=rng.random(),
            intervals=intervals if rng.random() < 0.5 else rng.randint(2, intervals),
            pace=rng.uniform(0.3, 1.5),
            checkin=rng.choice(CHECKIN_MODES),
            weight=rng.choice((1, 1, 2, 5)),
        )
        for name in names
    )
    kinds = [kind for kind in (FaultKind.LOSSY, FaultKind.SLOW) if rng.random() < 0.2]
    return Schedule(
        seed=seed,
        peers=peers,
        faults=tuple(Fault(kind, at=rng.uniform(1, 6), seconds=rng.uniform(0.5, 3), peers=()) for kind in kinds),
        min_peers=min(quorum, count - lying),
        expected=count,
        averaging=rng.random() < 0.7,
        adaptive=rng.random() < 0.3,
        wait_below_quorum=False,
        straggler_timeout=rng.choice((0.3, 0.6, 1.0)),
        start_timeout=120.0,
        delay=rng.choice((0.002, 0.01, 0.03)),
        duplicates=rng.choice((0.0, 0.02)),
        transfer=rng.choice((0.05, 0.2)),
        overlap=rng.random() < 0.2,
        codec=rng.choice(("exact", "exact", "bf16", "int8")),
        liars=tuple(rng.sample(names, lying)),
        tolerated=tolerated,
        twins=rng.random() < 0.6,
    )

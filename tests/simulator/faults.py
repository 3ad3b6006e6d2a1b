"""What can go wrong in a run, and how faults are drawn from a seed."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from swarm.records import PeerId


class FaultKind(enum.StrEnum):
    """What goes wrong."""

    CRASH = "crash"
    """A process dies; connections to it break."""
    CRASH_DECIDING = "crash_deciding"
    """The next process to commit a round, as a rule its leader, dies before it tells anybody."""
    CRASH_CLOSING = "crash_closing"
    """A member of the next closing round dies somewhere in it."""
    RESTART = "restart"
    """A process dies and comes back as a new incarnation without memory."""
    RESUME = "resume"
    """A process dies and comes back with its newest checkpoint."""
    BLACKOUT = "blackout"
    """All processes die at once and come back with their newest checkpoints."""
    FREEZE = "freeze"
    """A process stands still, then goes on as if nothing had been."""
    PARTITION = "partition"
    """Two sides cannot reach each other for a while."""
    LASTING_PARTITION = "lasting_partition"
    """The same for many rounds."""
    CUT_DECIDING = "cut_deciding"
    """When next a leader asks for accepts, its group is cut in two for a while."""
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
    FINISH = "finish"
    """All peers end their training at the same moment."""
    BOAST = "boast"
    """A peer claims more weight than it joined with."""
    LIE = "lie"
    """A peer claims from now on that its weights have moved by far less than they have, or by far more."""
    STRAYS = "strays"
    """Another session starts in the same network, and messages go astray between the two."""
    CLOCK_JUMP = "clock_jump"
    """A process stands still, and finds its clock minutes ahead."""
    CLOCK_DRIFT = "clock_drift"
    """A process's clock goes too fast or too slowly from now on."""
    SLOW_DISK = "slow_disk"
    """Checkpoints take many seconds to write for a while."""
    FULL_DISK = "full_disk"
    """Checkpoints cannot be written for a while."""


CUTS = frozenset({FaultKind.PARTITION, FaultKind.LASTING_PARTITION})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``peers`` are those it strikes; of a partition, one side."""

    kind: FaultKind
    at: float
    peers: tuple[PeerId, ...] = ()
    seconds: float = 0.0
    amount: float = 0.0
    """Seconds that a clock jumps by, or how fast it goes; the factor of a lie."""

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.seconds


_SECONDS = {
    FaultKind.PARTITION: (0.5, 3.0, 6.0, 12.0),
    FaultKind.LASTING_PARTITION: (15.0, 30.0),
    FaultKind.CUT_DECIDING: (1.0, 4.0, 8.0),
    FaultKind.DEAF: (0.5, 1.5, 4.0),
    FaultKind.DEAF_DECIDING: (0.5, 2.0, 6.0),
    FaultKind.FREEZE: (0.5, 1.5, 4.0, 9.0),
    FaultKind.RESTART: (0.05, 0.5, 4.0),
    FaultKind.RESUME: (0.05, 0.5, 4.0),
    FaultKind.BLACKOUT: (0.1, 1.0, 3.0),
    FaultKind.CRASH_DECIDING: (0.0, 0.5, 2.0),
    FaultKind.CRASH_CLOSING: (0.0, 0.0, 0.5),
    FaultKind.SLOW: (0.5, 1.5, 3.0),
    FaultKind.BROKEN: (0.5, 1.5, 3.0),
    FaultKind.LOSSY: (0.5, 1.5, 3.0),
    FaultKind.STRAYS: (1.0, 4.0),
    FaultKind.CLOCK_JUMP: (0.0, 0.5, 4.0),
    FaultKind.SLOW_DISK: (4.0, 12.0),
    FaultKind.FULL_DISK: (2.0, 8.0),
}
"""How long a fault may last; 0 for one that is over at once, or for a crash that nobody comes back from."""
_AMOUNTS = {
    FaultKind.CLOCK_JUMP: (5.0, 90.0, 600.0),
    FaultKind.CLOCK_DRIFT: (0.5, 0.9, 1.1, 2.0),
    FaultKind.LIE: (0.0, 0.01, 1e6),
}
_DECIDING = (FaultKind.CRASH_DECIDING, FaultKind.CUT_DECIDING, FaultKind.DEAF_DECIDING)
"""Faults in the moment that decides a round, which are drawn more often."""
_ONE = frozenset(
    {
        FaultKind.CRASH,
        FaultKind.RESTART,
        FaultKind.RESUME,
        FaultKind.FREEZE,
        FaultKind.DEAF,
        FaultKind.LEAVE,
        FaultKind.BOAST,
        FaultKind.LIE,
        FaultKind.CLOCK_JUMP,
        FaultKind.CLOCK_DRIFT,
    }
)
"""Faults that strike one peer."""


def draw_faults(rng: random.Random, names: tuple[PeerId, ...], until: float) -> tuple[Fault, ...]:
    """Up to five faults before ``until``, in the order of time."""
    faults = []
    for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 4, 5))):
        kind = rng.choice((*FaultKind, *_DECIDING, *_DECIDING))
        struck: tuple[PeerId, ...] = ()
        if kind in CUTS:
            struck = tuple(sorted(rng.sample(names, rng.randint(1, max(1, len(names) // 2)))))
        elif kind in _ONE:
            struck = (rng.choice(names),)
        seconds, amount = rng.choice(_SECONDS.get(kind, (0.0,))), rng.choice(_AMOUNTS.get(kind, (0.0,)))
        faults.append(Fault(kind, rng.uniform(0.2, until), struck, seconds, amount))
    return tuple(sorted(faults, key=lambda fault: fault.at))

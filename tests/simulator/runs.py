"""Runs schedules, and makes those that fail smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulator.plan import PeerPlan, Schedule
from tests.simulator.violation import Violation
from tests.simulator.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    schedule: Schedule
    violation: Violation | None
    events: int
    committed: int
    aborted: int
    forks: int
    heals: int
    overlapped: int
    """Models loaded under steps of a training that went on."""
    coded: int
    """Rounds whose codec lost something."""
    faults: dict[str, int]
    disagreements: int
    """Records of which honest peers had another one of the same round, where more members lied than is tolerated."""
    proven: int
    """Members that were proven to have voted twice."""


def run(schedule: Schedule, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run one schedule; an exception of the code under test counts as a violation."""
    world = World(schedule, tell)
    violation = None
    try:
        world.run()
    except Violation as found:
        violation = found
    except Exception as error:  # noqa: BLE001  (whatever the code under test raises is a finding)
        violation = Violation("Error", f"{type(error).__name__}: {error}")
        violation.__cause__ = error
    return Outcome(
        schedule=schedule,
        violation=violation,
        events=world.loop.events,
        committed=len(world.witness.commits),
        aborted=world.witness.aborted,
        forks=len(world.witness.forks),
        heals=world.witness.heals,
        overlapped=world.witness.overlapped,
        coded=world.witness.coded,
        faults=dict(world.hazards.struck),
        disagreements=len(world.witness.disagreements),
        proven=len(world.witness.proven),
    )


def shrink(schedule: Schedule, tries: int = 200) -> Schedule:
    """A smaller schedule that breaks the same invariant: fewer faults, fewer peers, shorter runs, a better network."""
    found = run(schedule).violation
    if found is None:
        return schedule
    candidates = _smaller(schedule)
    while tries and (candidate := next(candidates, None)):
        tries -= 1
        violation = run(candidate).violation
        if violation and violation.invariant == found.invariant:
            schedule, candidates = candidate, _smaller(candidate)
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    for fault in schedule.faults:
        yield replace(schedule, faults=tuple(other for other in schedule.faults if other is not fault))
    if len(schedule.peers) > max(2, schedule.min_peers):
        for peer in schedule.peers:
            yield replace(schedule, peers=tuple(other for other in schedule.peers if other is not peer))
    for peer in schedule.peers:
        if peer.intervals > 1:
            shorter = replace(peer, intervals=peer.intervals - 1)
            yield replace(schedule, peers=_with(schedule.peers, peer, shorter))
    if schedule.extends:
        yield replace(schedule, extends=False)
    if schedule.overlap:
        yield replace(schedule, overlap=False)
    if schedule.codec != "exact":
        yield replace(schedule, codec="exact")
    if schedule.loss or schedule.duplicates or schedule.poisoned:
        yield replace(schedule, loss=0.0, duplicates=0.0, poisoned=0.0)


def _with(peers: tuple[PeerPlan, ...], old: PeerPlan, new: PeerPlan) -> tuple[PeerPlan, ...]:
    return tuple(new if peer is old else peer for peer in peers)

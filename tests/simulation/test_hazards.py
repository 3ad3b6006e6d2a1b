"""What the faults of a schedule do to a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.records import PeerStatus
from tests.simulator.clock import ProcessClock
from tests.simulator.faults import Fault, FaultKind
from tests.simulator.mutants import mutated
from tests.simulator.plan import OTHER_SESSION, SESSION, PeerPlan, Schedule
from tests.simulator.violation import Violation
from tests.simulator.world import World


def schedule(*faults: Fault, peers: int = 3, intervals: int = 8) -> Schedule:
    names = [f"p{number:02}" for number in range(peers)]
    return Schedule(
        seed=1,
        peers=tuple(PeerPlan(name, 0.0, intervals, 0.5, PeerStatus.SNAPSHOT, 1) for name in names),
        faults=faults,
        min_peers=2,
        expected=peers,
        averaging=True,
        adaptive=False,
        wait_below_quorum=False,
        straggler_timeout=1.0,
    )


def ran(plan: Schedule) -> World:
    world = World(plan)
    world.run()
    return world


def outcomes(world: World, session: str = SESSION) -> list[str]:
    return [process.outcome for process in world.processes.values() if process.plan.session == session]


def test_a_process_that_resumes_goes_on_from_its_disk() -> None:
    world = ran(schedule(Fault(FaultKind.RESUME, 3.0, ("p01",), 0.5)))
    resumed = world.processes["p01"].resumed
    assert resumed is not None
    assert resumed.round >= 1
    assert outcomes(world) == ["closed"] * 3


def test_a_full_disk_leaves_nothing_to_resume_from() -> None:
    full = Fault(FaultKind.FULL_DISK, 0.0, (), 60.0)
    world = ran(schedule(full, Fault(FaultKind.RESUME, 3.0, ("p01",), 0.5)))
    assert world.processes["p01"].resumed is None
    assert outcomes(world) == ["closed"] * 3


def test_a_slow_disk_has_older_checkpoints() -> None:
    resume = Fault(FaultKind.RESUME, 5.0, ("p01",), 0.5)

    def resumed_at(*faults: Fault) -> list[int]:
        worlds = [ran(replace(schedule(*faults), seed=seed)) for seed in range(6)]
        return [commit.round if (commit := world.processes["p01"].resumed) else -1 for world in worlds]

    quick, slow = resumed_at(resume), resumed_at(Fault(FaultKind.SLOW_DISK, 0.0, (), 5.0), resume)
    assert min(quick) > 0
    assert sum(slow) < sum(quick) - 6


def test_after_a_blackout_all_go_on_from_their_disks() -> None:
    world = ran(schedule(Fault(FaultKind.BLACKOUT, 3.0, (), 0.5)))
    assert all(process.resumed for process in world.processes.values())
    assert outcomes(world) == ["closed"] * 3
    assert world.witness.forks


def test_another_session_in_the_network_has_rounds_of_its_own() -> None:
    world = ran(schedule(Fault(FaultKind.STRAYS, 1.0, (), 4.0)))
    assert outcomes(world) == ["closed"] * 3
    assert outcomes(world, OTHER_SESSION) == ["closed"] * 2
    groups = [{*commit.members, *commit.group} for commit in world.witness.commits.values()]
    assert {frozenset(name[0] for name in group) for group in groups} == {frozenset("p"), frozenset("q")}


def test_a_stray_that_is_let_in_is_noticed() -> None:
    with mutated("a_stray_is_let_in"), pytest.raises(Violation, match="Isolation"):
        ran(schedule(Fault(FaultKind.STRAYS, 1.0, (), 4.0)))


@pytest.mark.parametrize("amount", [0.0, 0.01, 1e6])
def test_a_liar_receives_and_never_contributes(amount: float) -> None:
    world = ran(schedule(Fault(FaultKind.LIE, 0.0, ("p01",), 0.0, amount)))
    assert outcomes(world) == ["closed"] * 3
    trained = [commit for commit in world.witness.commits.values() if commit.round and not commit.closing]
    assert len(trained) == 8
    # Where it leads it puts its own group together, and has nobody to lie to.
    assert {commit.contributors for commit in trained if "p01" in commit.contributors} <= {("p00", "p01", "p02")}
    assert ("p00", "p02") in {commit.contributors for commit in trained}
    assert bool(world.witness.aborted) == (amount < 1)  # what is absurd is not even exchanged


@pytest.mark.parametrize(
    ("mutant", "amount"),
    [("a_claimed_norm_is_trusted", 0.01), ("an_absurd_norm_is_merged", 1e6), ("owners_measure_nothing", 1.0)],
)
def test_a_lie_that_is_believed_is_noticed(mutant: str, amount: float) -> None:
    with mutated(mutant), pytest.raises(Violation, match="Honest count"):
        ran(schedule(Fault(FaultKind.LIE, 0.0, ("p01",), 0.0, amount)))


def test_all_may_finish_at_once() -> None:
    world = ran(schedule(Fault(FaultKind.FINISH, 3.2), intervals=1000))
    assert outcomes(world) == ["closed"] * 3


@pytest.mark.parametrize("comes_back", [0.0, 0.5])
def test_a_member_dies_in_the_closing_round(comes_back: float) -> None:
    world = ran(schedule(Fault(FaultKind.CRASH_CLOSING, 0.0, (), comes_back), peers=4))
    assert world.hazards.struck["crash_closing"] == 1
    assert outcomes(world).count("closed") >= 3


def a_fork_of_one_that_returns() -> World:
    """The larger weight misses a decision, goes on alone, and finds the other one with the model of both."""
    plan = schedule(Fault(FaultKind.DEAF_DECIDING, 2.2, (), 1.0), peers=2)
    first, second = plan.peers
    peers = replace(first, intervals=1, pace=0.4), replace(second, intervals=2, pace=1.9, weight=2)
    return ran(replace(plan, seed=5, peers=peers, min_peers=1))


def test_who_returns_from_its_fork_keeps_the_steps_since() -> None:
    world = a_fork_of_one_that_returns()
    forked = next(commit for commit in world.witness.commits.values() if commit.group == ("p01",))
    assert forked.round == 1
    closing = world.processes["p01"].session.commit
    assert closing is not None
    assert closing.lineage != forked.lineage
    assert outcomes(world) == ["closed"] * 2


def test_who_gives_up_the_steps_since_its_fork_is_noticed() -> None:
    with mutated("a_return_gives_up_later_steps"), pytest.raises(Violation, match="p01 loses steps"):
        a_fork_of_one_that_returns()


def test_the_interval_follows_the_losses_and_is_the_same_for_all() -> None:
    world = ran(replace(schedule(), adaptive=True))
    assert len({commit.sync.interval for commit in world.witness.commits.values()}) > 1
    assert outcomes(world) == ["closed"] * 3


def test_a_process_whose_clock_jumps_or_drifts_stays_in_the_session() -> None:
    jump = Fault(FaultKind.CLOCK_JUMP, 2.0, ("p00",), 0.5, 600.0)
    drift = Fault(FaultKind.CLOCK_DRIFT, 1.0, ("p01",), 0.0, 2.0)
    world = ran(schedule(jump, drift))
    assert world.processes["p00"].executor.now() > 600
    assert world.processes["p01"].executor.clock.rate == 2.0
    assert outcomes(world) == ["closed"] * 3


def test_a_clock_that_drifts_goes_on_from_where_it_was() -> None:
    clock = ProcessClock(ahead=5.0)
    before = clock.read(10.0)
    clock.drift(0.5, 10.0)
    assert clock.read(10.0) == before
    assert clock.read(12.0) == before + 1.0


def test_a_clock_shows_a_reading_when_it_says() -> None:
    clock = ProcessClock(rate=0.9, ahead=0.3)
    assert 7.7 <= clock.read(clock.moment(7.7)) < 7.701

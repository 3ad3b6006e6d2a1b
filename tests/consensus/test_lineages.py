"""Which of two lineages stays when they meet."""

from __future__ import annotations

import pytest

from swarm.consensus.effects import Heal
from swarm.consensus.machine import RoundMachine
from swarm.consensus.rules import RoundRules
from swarm.records import Commit, ContributionStats, SyncState
from swarm.sync import FixedInterval


def commit(lineage: str, round_: int, weight: int) -> Commit:
    peers = ("ann", "bob")
    return Commit(
        lineage=lineage, round=round_, digest="d", members=peers, group=peers, contributors=(), sync=SyncState(8),
        weight=weight,
    )  # fmt: skip


def heals(ours: Commit, theirs: Commit) -> bool:
    policy = FixedInterval(8)
    rules = RoundRules(session="s", min_peers=2, policy=policy, first_sync=policy.start())
    machine = RoundMachine("ann", "1", rules, 0.0)
    machine.resume(ours, 0.0)
    machine.peer_up("bob", theirs, 0.0)
    stats = ContributionStats(peer="ann", round=machine.round, weight=1)
    return any(isinstance(effect, Heal) for effect in machine.offer(stats, 0.0))


def test_the_lineage_with_more_contributed_weight_stays() -> None:
    assert heals(commit("one", 9, 3), commit("two", 4, 5))
    assert not heals(commit("two", 4, 5), commit("one", 9, 3))


@pytest.mark.parametrize(("parent", "child"), [("a", "b"), ("b", "a")])
def test_a_lineage_to_which_nobody_contributed_yet_does_not_go_back_to_its_parent(parent: str, child: str) -> None:
    assert not heals(commit(child, 5, 7), commit(parent, 4, 7))
    assert heals(commit(parent, 4, 7), commit(child, 5, 7))

"""A peer that has sent steps to a lineage, goes over to another one and comes back: which steps it may keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from swarm.consensus.machine import RoundMachine
from swarm.messages import Accept, Decide, Entry, Proposal, Propose
from swarm.records import Attempt, Commit, ContributionStats, PeerStatus

TRAINING, ACTIVE = PeerStatus.TRAINING, PeerStatus.ACTIVE


class Wanderer:
    """The machine of ``a``: it is ready in round 1 of a lineage, ``left``, and does not learn what became of that."""

    def __init__(self, founded: Callable, *, steps: int) -> None:
        peers = founded(*"abcd", min_peers=1)
        self.machine: RoundMachine = peers.machines["a"]
        self.now = peers.now
        self.left = self.contribute(steps)

    def contribute(self, steps: int) -> Proposal:
        """It is ready in the next round, and does not learn what becomes of that."""
        self.machine.offer(ContributionStats(peer="a", round=self.machine.round, weight=1, steps=steps), self.now)
        assert self.machine.commit is not None
        proposal = self.proposal(self.machine.commit, "abc")
        self.machine.receive("b", Propose(proposal), self.now)
        self.machine.exchanged(proposal.key, "merged", (), self.now)
        return proposal

    def proposal(self, parent: Commit, group: str) -> Proposal:
        return Proposal(
            lineage=parent.lineage,
            round=parent.round + 1,
            attempt=Attempt(5, "b"),
            parent=parent.digest,
            voters=tuple(group),
            members=tuple(group),
            entries=tuple(Entry(peer, 1, TRAINING) for peer in group),
            sync=parent.sync,
            closing=False,
            weight=9,
        )

    def fork(self, *entries: Entry) -> None:
        """A round of ``entries`` begins another lineage."""
        commit = self.machine.commit
        assert commit is not None
        for peer in "cd":
            self.machine.peer_down(peer, self.now)
        beginning = replace(self.proposal(commit, "ab"), lineage="fork", attempt=Attempt(6, "b"), entries=entries)
        self.machine.receive("b", Propose(beginning), self.now)
        self.machine.exchanged(beginning.key, "forked", (), self.now)
        self.machine.receive("b", Accept(beginning, "forked"), self.now)
        self.machine.receive("b", Decide(beginning.commit("forked")), self.now)
        assert self.machine.commit == beginning.commit("forked")

    def heal(self, lineage: str, round_: int, contributors: str = "bc") -> None:
        """It goes over to another lineage, which it downloads."""
        assert self.machine.commit is not None
        names = tuple(contributors)
        commit = replace(self.left.commit("healed"), lineage=lineage, round=round_, contributors=names)
        self.machine.healed(commit, self.now)

    def gives_up_steps_for(self, commit: Commit) -> bool:
        return self.machine.may_contain_lost(commit)

    @property
    def gives_up_steps(self) -> bool:
        """Whether it would give up the steps since its last merge if it came back now."""
        return self.gives_up_steps_for(self.left.commit("merged"))


@pytest.fixture
def wanderer(founded) -> Wanderer:
    return Wanderer(founded, steps=4)


def test_steps_that_the_other_lineage_has_not_merged_may_be_in_the_one_that_was_left(wanderer: Wanderer) -> None:
    wanderer.heal("other", 1)
    assert wanderer.gives_up_steps
    assert wanderer.gives_up_steps_for(replace(wanderer.left.commit("later"), round=2, contributors=("b",)))
    without = replace(wanderer.left.commit("merged"), contributors=("b", "c"))
    assert not wanderer.gives_up_steps_for(without), "the record says that it did not contribute"


@pytest.mark.parametrize("weight", [1, 0])
def test_steps_after_a_round_of_another_lineage_are_not_in_the_lineage_that_was_left(
    wanderer: Wanderer, weight: int
) -> None:
    """That round has merged the earlier ones, or has left them out: they are gone then."""
    wanderer.fork(Entry("a", weight, TRAINING), Entry("b", 1, TRAINING))
    assert not wanderer.gives_up_steps


def test_a_round_without_contributors_leaves_the_steps_unmerged(wanderer: Wanderer) -> None:
    wanderer.fork(Entry("a", 0, TRAINING), Entry("b", 1, ACTIVE))
    assert wanderer.gives_up_steps


def test_steps_that_count_as_merged_in_the_other_lineage_are_not_looked_for_in_the_first(wanderer: Wanderer) -> None:
    wanderer.heal("other", 2)
    assert not wanderer.gives_up_steps


def test_steps_that_were_given_up_once_are_not_given_up_for_another_lineage(wanderer: Wanderer) -> None:
    wanderer.heal("other", 1)
    there = wanderer.contribute(steps=8)
    assert wanderer.gives_up_steps
    wanderer.heal(wanderer.left.lineage, 1, "abc")
    assert not wanderer.gives_up_steps_for(there.commit("merged"))


def test_steps_that_are_in_the_last_offer_too_count_as_merged_with_it(wanderer: Wanderer) -> None:
    """Then those that were made after the offer are kept."""
    wanderer.heal("other", 1)
    wanderer.contribute(steps=8)
    back = replace(wanderer.left.commit("later"), round=3)
    assert wanderer.machine.may_contain(back)
    assert not wanderer.gives_up_steps_for(back)


def test_a_contribution_without_steps_is_not_looked_for(founded) -> None:
    wanderer = Wanderer(founded, steps=0)
    wanderer.heal("other", 1)
    assert not wanderer.gives_up_steps

"""A peer that has sent steps to a lineage, goes over to another one and comes back: which steps it may keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from swarm.consensus.machine import RoundMachine
from swarm.messages import Decide, Offer, Proposal, Propose
from swarm.records import Attempt, Commit, Origin, RecordKind


class Wanderer:
    """The machine of ``a``: it is ready in round 1 of a lineage, ``left``, and does not learn what became of that."""

    def __init__(self, founded: Callable, *, steps: int) -> None:
        self.peers = founded(*"abcd", min_peers=1)
        self.machine: RoundMachine = self.peers.machines["a"]
        self.now = self.peers.now
        self.left = self.contribute(steps)

    def contribute(self, steps: int) -> Proposal:
        """It is ready in the next round, and does not learn what becomes of that."""
        self.offer(steps=steps)
        proposal = self.proposal(5, [self.of(peer) for peer in "bc"], self.of("a", steps=steps))
        self.machine.receive("b", Propose(proposal), self.now)
        self.machine.exchanged(proposal.key, "merged", (), self.now)
        return proposal

    @property
    def commit(self) -> Commit:
        """The last one that it has."""
        assert self.machine.commit is not None
        return self.machine.commit

    def of(self, peer: str, **stats: int) -> Offer:
        """An offer of a peer to the next round."""
        return self.peers.offer_of(peer, self.commit, **stats)

    def offer(self, **stats: int) -> None:
        self.machine.offer(self.of("a", **stats).stats, self.now)

    def proposal(self, counter: int, others: Sequence[Offer], mine: Offer, **changes: object) -> Proposal:
        attempt = Attempt(counter, "b")
        return self.peers.proposal(attempt, self.commit, mine, *others, promised="bcd", **changes)

    def fork(self, weight: int, other: int) -> None:
        """A round of ``a`` and ``b`` with these weights begins another lineage."""
        for peer in "cd":
            self.machine.peer_down(peer, self.now)
        self.offer(weight=weight, steps=4)
        fork = Origin("fork", self.commit.round + 1, majority=False)
        beginning = self.proposal(
            6,
            [self.of("b", weight=other)],
            self.of("a", weight=weight, steps=4),
            lineage="fork",
            kind=RecordKind.FORK,
            voters=("a", "b"),
            members=("a", "b"),
            origins=(*self.commit.origins, fork),
            promises=(),
        )
        self.machine.receive("b", Propose(beginning), self.now)
        self.machine.exchanged(beginning.key, "forked", (), self.now)
        self.machine.receive("b", self.peers.asks(beginning, "forked"), self.now)
        commit = self.peers.certified(beginning.commit("forked"), attempt=beginning.attempt)
        self.machine.receive("b", Decide(commit), self.now)
        assert self.machine.commit == commit

    def heal(self, lineage: str, round_: int, contributors: str = "bc") -> None:
        """It goes over to another lineage, which it downloads."""
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
    wanderer.fork(weight, 1)
    assert not wanderer.gives_up_steps


def test_a_round_without_contributors_leaves_the_steps_unmerged(wanderer: Wanderer) -> None:
    wanderer.fork(0, 0)
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

"""How many votes decide."""

from __future__ import annotations

import pytest

from swarm.quorums import certified, is_quorum, quorum_size


@pytest.mark.parametrize(
    ("voters", "liars", "votes"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 2), (4, 0, 3), (5, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 1, 5), (7, 2, 5)],
)
def test_more_than_half_of_voters_and_liars_together_decide(voters: int, liars: int, votes: int) -> None:
    assert quorum_size(voters, liars) == votes


@pytest.mark.parametrize("liars", range(4))
@pytest.mark.parametrize("voters", range(1, 30))
def test_two_quorums_have_an_honest_voter_in_common_and_one_vote_less_would_not_do(voters: int, liars: int) -> None:
    votes = quorum_size(voters, liars)
    assert 2 * votes - voters > liars
    assert 2 * (votes - 1) - voters <= liars


@pytest.mark.parametrize("liars", range(1, 6))
def test_three_times_the_liars_and_one_more_decide_without_them(liars: int) -> None:
    voters = 3 * liars + 1
    assert quorum_size(voters, liars) <= voters - liars
    assert quorum_size(voters - 1, liars) > voters - 1 - liars, "one voter less could not"


def test_only_voters_count_and_each_once() -> None:
    voters = ("ann", "bob", "cid")
    assert is_quorum(voters, ("ann", "bob"))
    assert not is_quorum(voters, ("ann", "ann", "zoe", "yan"))
    assert not is_quorum(voters, ("ann", "bob"), liars=1)
    assert is_quorum(voters, voters, liars=1)


@pytest.mark.parametrize("votes", range(6))
def test_votes_certify_the_largest_membership_that_they_are_a_majority_of(votes: int) -> None:
    most = certified(votes)
    assert not most or quorum_size(most) == votes
    assert quorum_size(most + 1) > votes


def test_nobody_decides_for_nobody() -> None:
    assert not is_quorum((), ("ann",))

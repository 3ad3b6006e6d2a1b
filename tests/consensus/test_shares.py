"""The share of the weight of a round that one peer may have."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.consensus.shares import capped

SITES = {"berlin": 4500, "paris": 1000, "rome": 500}
LIMITS = st.fractions(Fraction(1, 100), 1, max_denominator=100)


def at_most(share):
    return lambda _: Fraction(share)


@pytest.mark.parametrize(
    ("weights", "share", "expected"),
    [
        (SITES, "1", SITES),
        (SITES, "3/4", SITES),
        (SITES, "1/2", {"berlin": 1500, "paris": 1000, "rome": 500}),
        (SITES, "2/5", {"berlin": 1000, "paris": 1000, "rome": 500}),
        (SITES, "1/3", dict.fromkeys(SITES, 500)),  # all are at their limits
        (SITES, "1/5", dict.fromkeys(SITES, 500)),
        ({"berlin": 9, "paris": 0}, "1/4", {"berlin": 9, "paris": 0}),
        ({"berlin": 10**9, "paris": 1}, "1/2", {"berlin": 1, "paris": 1}),
        ({}, "1/2", {}),
    ],
)
def test_a_share_above_the_limit_is_lowered_to_it(weights, share, expected):
    assert capped(weights, at_most(share)) == expected


def test_limits_may_differ_and_zero_contributes_nothing():
    limits = {"berlin": Fraction(0), "paris": Fraction(1, 4), "rome": Fraction(1)}
    assert capped(SITES, limits.__getitem__) == {"berlin": 0, "paris": 166, "rome": 500}


def test_several_are_lowered_one_after_the_other():
    limits = {"berlin": Fraction(1, 2), "paris": Fraction(1, 4), "rome": Fraction(1)}
    assert capped(SITES, limits.__getitem__) == {"berlin": 1000, "paris": 500, "rome": 500}


@given(st.lists(st.tuples(st.integers(0, 10**9), LIMITS), min_size=1, max_size=8))
def test_no_weight_is_raised_and_no_share_is_more_than_a_unit_too_large(peers):
    weights = {str(index): weight for index, (weight, _) in enumerate(peers)}
    limits = {str(index): limit for index, (_, limit) in enumerate(peers)}
    result = capped(weights, limits.__getitem__)
    assert all(0 <= result[peer] <= weights[peer] for peer in weights)
    assert all((result[peer] > 0) == (weights[peer] > 0) for peer in weights)
    total = sum(result.values())
    contributing = [peer for peer in weights if weights[peer]]
    if sum(limits[peer] for peer in contributing) >= 1:
        # Each of the others may have lost less than one unit to rounding.
        assert all(result[peer] <= limits[peer] * (total + len(peers)) + 1 for peer in contributing)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**9)), LIMITS)
def test_the_order_in_which_peers_are_named_does_not_matter(weights, share):
    assert capped(dict(reversed(weights.items())), at_most(share)) == capped(weights, at_most(share))

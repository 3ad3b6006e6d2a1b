"""Tests of the rule, with the contract that Swarm provides for merge rules."""

from __future__ import annotations

import numpy as np
from swarm_multikrum import MultiKrum

from swarm.testing import MergeRuleContract


class TestMultiKrum(MergeRuleContract):
    """The contract, applied to this rule."""

    rule = MultiKrum()
    weight_counts_as_copies = False  # contributors are selected


def test_one_of_five_peers_has_no_part_in_the_model() -> None:
    """The result is the mean of the others."""
    honest = [np.float32([1, 10]), np.float32([2, 20]), np.float32([3, 30]), np.float32([4, 40])]
    merged = MultiKrum().merge([*honest, np.float32([1e6, -1e6])], [1] * 5)
    np.testing.assert_allclose(merged, np.float32([2.5, 25]), rtol=1e-6)


def test_of_three_points_all_are_kept() -> None:
    """Of three, none may be bad: the rule is then the mean, and a swarm of three does not start with it."""
    points = [np.float32([1, 2, 3]), np.float32([4, 5, 6]), np.float32([7, 8, 9])]
    np.testing.assert_allclose(MultiKrum().merge(points, [1, 1, 1]), [4, 5, 6])
    assert MultiKrum.fewest == 5

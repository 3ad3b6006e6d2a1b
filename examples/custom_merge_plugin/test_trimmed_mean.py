"""Tests of the rule, with the contract that Swarm provides for merge rules."""

from __future__ import annotations

import numpy as np
from swarm_trimmed_mean import TrimmedMean

from swarm.testing import MergeRuleContract


class TestTrimmedMean(MergeRuleContract):
    """The contract, applied to this rule."""

    rule = TrimmedMean()


def test_one_of_four_peers_cannot_move_the_model() -> None:
    """The result stays within the other peers' values."""
    honest = [np.float32([1, 10]), np.float32([2, 20]), np.float32([3, 30])]
    merged = TrimmedMean().merge([*honest, np.float32([1e9, -1e9])], [1, 1, 1, 1])
    np.testing.assert_array_equal(merged, np.float32([2.5, 15]))

"""The built-in rules pass the contract for plugins."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge import (
    BUILTIN_RULES,
    CenteredClipping,
    CoordinateMedian,
    GeometricMedian,
    MergeRule,
    NearestNeighbourMixing,
    NormClipping,
    Scope,
    TrimmedMean,
    WeightedMean,
)
from swarm.testing.rules import MergeRuleContract


class TestWeightedMeanContract(MergeRuleContract):
    rule = WeightedMean()


class TestCoordinateMedianContract(MergeRuleContract):
    rule = CoordinateMedian()


class TestGeometricMedianContract(MergeRuleContract):
    rule = GeometricMedian()


class TestTrimmedMeanContract(MergeRuleContract):
    rule = TrimmedMean()


class TestNormClippingContract(MergeRuleContract):
    rule = NormClipping()


class TestCenteredClippingContract(MergeRuleContract):
    rule = CenteredClipping()


class TestNearestNeighbourMixingContract(MergeRuleContract):
    rule = NearestNeighbourMixing()


def test_built_in_rules_go_by_their_names() -> None:
    assert {name: (rule.name, rule.scope, rule.robust, rule.fewest) for name, rule in BUILTIN_RULES.items()} == {
        "mean": ("mean", Scope.STREAM, False, 1),
        "coordmedian": ("coordmedian", Scope.COLUMN, True, 1),
        "geomedian": ("geomedian", Scope.GRAM, True, 1),
        "trimmed_mean": ("trimmed_mean", Scope.COLUMN, True, 4),
        "norm_clip": ("norm_clip", Scope.GRAM, True, 3),
        "centered_clip": ("centered_clip", Scope.GRAM, True, 3),
        "nnm": ("nnm", Scope.GRAM, True, 4),
    }


@pytest.mark.parametrize(("scope", "method"), [(Scope.STREAM, "merge"), (Scope.GRAM, "coefficients")])
def test_rule_without_the_method_of_its_scope_is_refused(scope: Scope, method: str) -> None:
    with pytest.raises(TypeError, match=rf"Incomplete.*{scope}.*{method}\(\)"):
        type("Incomplete", (MergeRule,), {"name": "incomplete", "scope": scope})


def test_coefficients_exist_only_for_gram_rules() -> None:
    with pytest.raises(NotImplementedError, match=r"'mean'.*stream"):
        WeightedMean().coefficients(np.eye(2), (1, 1))

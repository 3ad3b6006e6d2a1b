"""A method that a subclass of a rule overrides is always used, also if its base class has faster methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from swarm.merge import BUILTIN_RULES, CoordinateMedian, GeometricMedian, MergeRule, Scope, WeightedMean
from swarm.tensors.state import Array

COLUMNS = [np.float32([1, 2, 3]), np.float32([3, 4, 8])]
WEIGHTS = (1, 1)


def outcomes(rule: MergeRule) -> list[list[float]]:
    """The result of each way of merging."""
    into, measured = np.empty_like(COLUMNS[0]), np.empty_like(COLUMNS[0])
    rule.merge_into(COLUMNS, WEIGHTS, into)
    rule.merge_measured(COLUMNS, WEIGHTS, np.zeros_like(into), measured)
    return [rule.merge(COLUMNS, WEIGHTS).tolist(), into.tolist(), measured.tolist()]


class Largest:
    """A mixin that merges in its own way."""

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        return np.maximum.reduce(columns)


def derived(base: type[MergeRule]) -> type[MergeRule]:
    class Derived(base):
        def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
            return np.maximum.reduce(columns)

    return Derived


def patched_below(base: type[MergeRule]) -> type[MergeRule]:
    return type("Below", (derived(base),), {})


def mixed_in(base: type[MergeRule]) -> type[MergeRule]:
    return type("Mixed", (Largest, base), {})


@pytest.mark.parametrize("make", [derived, patched_below, mixed_in])
@pytest.mark.parametrize("base", [type(rule) for rule in BUILTIN_RULES.values() if rule.scope is not Scope.GRAM])
def test_an_overridden_merge_is_what_every_way_of_merging_gives(base: type[MergeRule], make) -> None:
    assert outcomes(make(base)()) == [[3, 4, 8]] * 3


def test_shortcuts_of_a_plugins_rule_do_not_outlive_its_merge_either() -> None:
    class Fast(MergeRule):
        name, scope = "fast", Scope.STREAM

        def merge(self, columns, weights):
            return columns[0].copy()

        def merge_into(self, columns, weights, out):
            out[...] = columns[0]

        def merge_measured(self, columns, weights, origin, out):
            out[...] = columns[0]
            return [0.0] * len(columns)

    assert outcomes(Fast()) == [[1, 2, 3]] * 3
    assert outcomes(derived(Fast)()) == [[3, 4, 8]] * 3


def test_a_subclass_may_bring_its_own_shortcuts() -> None:
    class Quick(WeightedMean):
        def merge(self, columns, weights):
            return columns[1].copy()

        def merge_into(self, columns, weights, out):
            out[...] = columns[1]

    assert outcomes(Quick()) == [[3, 4, 8]] * 3
    assert Quick.merge_into is not MergeRule.merge_into


def test_a_subclass_that_overrides_no_merge_keeps_the_shortcuts() -> None:
    class Renamed(WeightedMean):
        name = "renamed"

    assert Renamed.merge_into is WeightedMean.merge_into
    assert Renamed.merge_measured is WeightedMean.merge_measured


def test_a_gram_rule_that_overrides_merge_is_refused_since_no_round_would_call_it() -> None:
    with pytest.raises(TypeError, match=r"Derived overrides merge\(\).*gram.*override coefficients\(\)"):
        derived(GeometricMedian)
    with pytest.raises(TypeError, match=r"Mixed overrides merge\(\)"):
        mixed_in(GeometricMedian)


def test_a_gram_rule_may_become_one_that_merges_chunks() -> None:
    class Chunks(GeometricMedian):
        scope = Scope.COLUMN

        def merge(self, columns, weights):
            return np.maximum.reduce(columns)

    assert outcomes(Chunks()) == [[3, 4, 8]] * 3


def test_coefficients_that_no_round_would_call_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Weighted overrides coefficients\(\).*stream.*override merge\(\)"):
        type("Weighted", (WeightedMean,), {"coefficients": lambda self, gram, weights: np.ones(2) / 2})


def test_a_rule_that_merges_chunks_may_become_a_gram_rule() -> None:
    class Last(CoordinateMedian):
        scope = Scope.GRAM

        def coefficients(self, gram, weights):
            return np.array([0.0, 1.0])

    assert outcomes(Last()) == [[3, 4, 8]] * 3


def test_coefficients_may_be_a_part_of_a_merge_by_chunks() -> None:
    class Template(MergeRule):
        name, scope = "template", Scope.COLUMN

        def coefficients(self, gram, weights):
            return np.array([1.0, 0.0])

        def merge(self, columns, weights):
            return (self.coefficients(None, weights) @ np.stack(columns)).astype(columns[0].dtype)

    class Other(Template):
        def coefficients(self, gram, weights):
            return np.array([0.0, 1.0])

    assert outcomes(Other()) == [[3, 4, 8]] * 3


def test_only_a_rule_that_knows_distances_is_given_the_reference_model() -> None:
    attributes = {"name": "near", "scope": Scope.COLUMN, "needs_reference": True, "merge": WeightedMean.merge}
    with pytest.raises(TypeError, match="Near has the scope column, which no reference model is given to"):
        type("Near", (MergeRule,), attributes)


def test_a_rule_derived_from_one_that_combines_may_change_nothing_but_its_name() -> None:
    derived = type("Renamed", (GeometricMedian,), {"name": "renamed"})()
    assert outcomes(derived) == outcomes(GeometricMedian())

"""The check of contributions by their distances from one another."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge import BUILTIN_RULES, GeometricMedian, NormClipping, WeightedMean
from swarm.merge.screen import screened
from swarm.testing.rules import MergeRuleContract


class TestScreenedMeanContract(MergeRuleContract):
    rule = screened(WeightedMean())
    weight_counts_as_copies = False  # contributions are compared, whatever their weight


class TestScreenedNormClippingContract(MergeRuleContract):
    rule = screened(NormClipping())
    weight_counts_as_copies = False


def gram(points: object) -> np.ndarray:
    rows = np.array(points, np.float64)
    return rows @ rows.T


def steps(count: int) -> dict[int, int]:
    return dict.fromkeys(range(count), 1)


def test_what_is_more_than_twice_as_far_as_usual_is_left_out() -> None:
    rule = screened(WeightedMean())
    points = [[0.0], [1.0], [2.0], [3.0], [7.0]]  # median distances, lower ones: 2, 1, 1, 2, 5
    assert {place: distance.own for place, distance in rule.far(gram(points), steps(5)).items()} == {4: 5}
    assert rule.far(gram(points), steps(5))[4].usual == 2
    assert rule.merge([np.array(point) for point in points], (1, 1, 3, 1, 9)) == pytest.approx(10 / 6)
    points[4] = [6.0]  # 4, exactly twice as far
    assert not rule.far(gram(points), steps(5))


@pytest.mark.parametrize("points", [[[0.0], [0.0], [0.0], [5.0], [9.0]], [[1.0], [100.0]], [[3.0]]])
def test_nothing_is_left_out_where_most_are_equal_or_there_are_too_few(points: list[list[float]]) -> None:
    assert not screened(WeightedMean()).far(gram(points), steps(len(points)))


def test_only_those_that_are_checked_are_compared_and_left_out() -> None:
    rule = screened(WeightedMean())
    points = gram([[0.0], [1.0], [2.0], [50.0], [51.0], [52.0], [53.0]])
    assert not rule.far(points, steps(3))
    assert set(rule.far(points, steps(4))) == {3}


def test_those_without_steps_do_not_set_what_is_usual_and_are_checked_themselves() -> None:
    """Rounding alone sets them apart; and a false number of steps does not hide a distance."""
    rule = screened(WeightedMean())
    idle = gram([[0.0], [1e-7], [2e-7], [3e-7], [5.0]])
    assert set(rule.far(idle, steps(5))) == {4}
    assert not rule.far(idle, {0: 0, 1: 0, 2: 0, 3: 0, 4: 9})
    assert not rule.far(idle, {0: 0, 1: 0, 2: 0, 3: 9, 4: 9})
    liar = gram([[0.0], [1.0], [50.0], [1.5]])
    assert set(rule.far(liar, {0: 9, 1: 9, 2: 0})) == {2}
    assert set(rule.far(liar, {0: 9, 1: 9, 2: 0, 3: 9})) == {2}


def test_two_that_agree_do_not_protect_one_another() -> None:
    points = [[0.0, 0], [1, 0], [0, 1], [1, 1], [40, 40], [40, 40]]
    assert set(screened(WeightedMean()).far(gram(points), steps(6))) == {4, 5}


@pytest.mark.parametrize("name", ["geomedian", "norm_clip", "centered_clip", "nnm"])
def test_the_rule_gets_the_rest_and_its_reference_model(name: str) -> None:
    rule, rng = BUILTIN_RULES[name], np.random.default_rng(0)
    near = list(rng.standard_normal((6, 30)))
    reference = [rng.standard_normal(30)] * rule.needs_reference
    expected = rule.merge([*near, *reference], (1, 2, 1, 2, 1, 1))
    given = [near[0], near[0] + 1e3, *near[1:], *reference]
    np.testing.assert_allclose(screened(rule).merge(given, (1, 7, 2, 1, 2, 1, 1)), expected, rtol=1e-6)


def test_the_name_and_the_needs_are_those_of_the_rule() -> None:
    rule = screened(NormClipping())
    assert (rule.name, rule.robust, rule.needs_reference, rule.fewest) == ("norm_clip", True, True, 3)
    assert screened(BUILTIN_RULES["nnm"]).fewest == 4
    assert screened(GeometricMedian()).fewest == 3


@pytest.mark.parametrize("name", ["coordmedian", "trimmed_mean"])
def test_a_rule_that_needs_coordinates_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' has the scope column"):
        screened(BUILTIN_RULES[name])

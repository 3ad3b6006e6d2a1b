"""What one site tells of its data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ConfigurationError
from swarm.pooling.local import NOTHING, measure, ordered, unordered


def measured(features, labels=None, columns=None, classes=None, least=1):
    return measure(features, labels, columns=columns, classes=classes, least=least)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_integers_have_the_order_of_the_numbers(numbers):
    values = np.array(numbers)
    np.testing.assert_array_equal(np.argsort(ordered(values), kind="stable"), np.argsort(values, kind="stable"))
    np.testing.assert_array_equal(unordered(ordered(values)), values)
    assert (ordered(values) > NOTHING).all()
    assert np.isnan(unordered(np.array([NOTHING]))).all()


def test_missing_values_do_not_count():
    local = measured(np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 8.0]]))
    np.testing.assert_array_equal(local.count, [3, 2])
    np.testing.assert_array_equal(local.mean, [3, 6])
    np.testing.assert_array_equal(local.squares, [8, 8])
    np.testing.assert_array_equal(unordered(local.highest), [5, 8])
    np.testing.assert_array_equal(-unordered(local.lowest), [1, 4])


def test_a_feature_of_too_few_values_is_told_as_none():
    features = np.full((5, 2), np.nan)
    features[:, 0], features[:2, 1] = 1, 7
    local = measured(features, columns=["age", "rare"], least=3)
    np.testing.assert_array_equal(local.count, [5, 0])
    np.testing.assert_array_equal(local.mean, [1, 0])
    assert local.highest[1] == local.lowest[1] == NOTHING
    assert local.notes == ("'rare': fewer than 3 values, told as none",)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((30, 20, 10), (30, 20, 10)),
        ((30, 20, 0), (30, 20, 0)),
        ((30, 20, 3), (30, 0, 0)),  # else 53 - 30 - 20 would tell it
        ((30, 4, 3), (0, 0, 0)),
        ((30, 6, 5), (30, 0, 0)),  # 11 together
        ((30, 3, 0), (0, 0, 0)),
    ],
)
def test_a_small_class_cannot_be_computed_from_the_others(numbers, told):
    labels = np.repeat(["a", "b", "c"], numbers)
    local = measured(np.zeros((len(labels), 1)), labels, classes=["a", "b", "c"], least=10)
    np.testing.assert_array_equal(local.classes, told)
    assert len(local.notes) == sum(mine != other for mine, other in zip(numbers, told, strict=True))


@pytest.mark.parametrize("features", [[1, 2], [[True], [False]], np.zeros((2, 3, 4), np.float32), [[1, None], [2, 3]]])
def test_any_numbers_are_features(features):
    local = measured(features)
    assert (local.samples, local.shape) == (2, np.asarray(features).shape[1:] or (1,))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"features": [["a"], ["b"]]}, "features is of dtype <U1: allowed are numbers"),
        ({"features": [[object()]]}, "features contains what is no number"),
        ({"features": 3.0}, "features is a single number"),
        ({"features": [[1.0, np.inf]]}, "infinity in 'feature 1': give NaN"),
        ({"features": [[1e308], [-1e308]]}, "the values in 'feature 0' are too large"),
        ({"features": [[1, 2]], "columns": ["a"]}, "columns has 1 names, and features has 2 columns"),
        ({"features": [1, 2], "labels": [0, 1]}, "labels and classes belong together"),
        ({"features": [1, 2], "classes": [0, 1]}, "labels and classes belong together"),
        ({"features": [1, 2], "classes": [0, 1], "labels": [0]}, "labels has 1 entries, and features has 2 samples"),
        ({"features": [1, 2], "classes": [0, 1], "labels": [0, 2]}, "labels contains 2, which is not in classes"),
        ({"features": [1, 2], "classes": [0, 0], "labels": [0, 0]}, "classes names a class twice"),
    ],
)
def test_data_that_does_not_fit_is_refused(arguments, told):
    with pytest.raises(ConfigurationError, match=told):
        measured(**arguments)

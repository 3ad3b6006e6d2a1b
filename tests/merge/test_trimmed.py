"""Mean of each coordinate without its extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swarm.merge import TrimmedMean
from swarm.merge.trimmed import kept_parts

POINTS = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def merged(rows: object, weights: tuple[int, ...] | None = None, share: float = 0.25) -> np.ndarray:
    columns = [np.array(row, np.float64) for row in rows]  # type: ignore[attr-defined]
    return TrimmedMean(share).merge(columns, weights or (1,) * len(columns))


@pytest.mark.parametrize(
    ("points", "weights", "share", "expected"),
    [
        (POINTS, None, 1 / 3, [4, 5, 6]),
        ([[0], [1], [2], [99]], None, 1 / 4, [1.5]),
        ([[0], [1], [2], [9]], None, 1 / 8, [(0.5 * 0 + 1 + 2 + 0.5 * 9) / 3]),  # half a value at each end
        ([[0], [9]], (3, 1), 1 / 4, [0]),
        ([[0], [8]], (2, 1), 1 / 4, [(1.25 * 0 + 0.25 * 8) / 1.5]),
        ([[5]], None, 1 / 4, [5]),
    ],
)
def test_known_means(points: object, weights: tuple[int, ...] | None, share: float, expected: list[float]) -> None:
    np.testing.assert_allclose(merged(points, weights, share), expected, rtol=1e-12)


@given(
    rows=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(-1000, 1000, width=32),
    ),
    data=st.data(),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_share_of_f_of_n_drops_the_f_smallest_and_the_f_largest(rows: np.ndarray, data: st.DataObject) -> None:
    count = len(rows)
    bad = data.draw(st.integers(0, (count - 1) // 2))
    expected = np.sort(rows.astype(np.float64), axis=0)[bad : count - bad].mean(axis=0)
    share = bad / count or 1e-9
    np.testing.assert_allclose(TrimmedMean(share).merge(list(rows), [3] * count), expected, rtol=1e-5, atol=1e-3)


def test_values_of_up_to_the_share_cannot_leave_the_range_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((6, 1000)).astype(np.float32)
    hostile = np.full((2, 1000), 1e30, np.float32)
    for weights in ((1,) * 8, (3, 3, 5, 3, 3, 3, 3, 3)):  # with the second the parts that are kept differ by coordinate
        result = TrimmedMean().merge([*hostile, *honest], weights)
        assert (honest.min(axis=0) <= result).all()
        assert (result <= honest.max(axis=0)).all()


def test_more_than_the_share_can() -> None:
    assert merged([[0], [0], [0], [0], [1e6], [1e6]])[0] > 1e5


@pytest.mark.parametrize("weights", [(5, 1, 1, 1), (1, 100), (2, 3, 5, 7, 11)])
def test_kept_parts_add_up_and_none_is_negative(weights: tuple[int, ...]) -> None:
    kept = kept_parts(np.array(weights), 0.25, 0.75)
    assert kept.sum() == pytest.approx(1, abs=1e-15)
    assert (kept >= 0).all()


@pytest.mark.parametrize("share", [0, 0.5, -0.1, float("nan")])
def test_a_share_that_removes_nothing_or_everything_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 0.5"):
        TrimmedMean(share)


def test_the_fewest_contributors_are_those_of_which_one_is_removed_as_a_whole() -> None:
    assert [TrimmedMean(share).fewest for share in (0.25, 1 / 3, 0.2, 0.4)] == [4, 3, 5, 3]
    assert [TrimmedMean(1 / count).fewest for count in range(3, 65)] == [*range(3, 65)]

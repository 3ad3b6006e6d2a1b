"""The contract of a merge rule, as a pytest class.

Subclass it in a test module and name your rule::

    class TestMyRule(MergeRuleContract):
        rule = MyRule()

Three properties are mathematically wrong for some good rules. Such a rule opts out by an attribute, see there.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import combine, partial_gram
from swarm.state import WEIGHT_DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.state import Array

CASES = ((1,), (1, 1), (3, 100), (1, 1, 1), (2, 1, 5, 3), (1,) * 8, (7, 1, 100, 13, 50, 2, 2, 90, 31))
"""Weights of the groups that each property is tried on."""
SIZE = 257
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def apply_rule(
    rule: MergeRule, contributions: Sequence[Array], weights: Sequence[int], slices: Sequence[slice] | None = None
) -> Array:
    """Merge whole vectors as a round does, in memory.

    Args:
        rule: the rule.
        contributions: one 1-D array per contributor, of one dtype and length.
        weights: one per contributor.
        slices: what each owner merges, covering the vectors in order; None for one owner of everything.
    """
    parts = [[vector[part] for vector in contributions] for part in slices or [slice(None)]]
    if rule.scope is not Scope.GRAM:
        return np.concatenate([rule.merge(columns, weights) for columns in parts])
    gram = reduce(np.add, [partial_gram(columns) for columns in parts])
    coefficients = rule.coefficients(gram, weights)
    return np.concatenate([combine(columns, coefficients) for columns in parts])


def contributions(count: int, *, dtype: str = "float32", size: int = SIZE, seed: int = 0) -> list[Array]:
    """Random vectors as peers would contribute: one model, and each peer's own deviation from it."""
    rng = np.random.default_rng(seed)
    model = rng.standard_normal(size)
    return [(model + 0.1 * rng.standard_normal(size)).astype(numpy_dtype(dtype)) for _ in range(count)]


def assert_close(actual: Array, expected: NDArray[np.float64], scale: float = 1.0) -> None:
    """Compare with what exact arithmetic would give, allowing for a rounding of float32 results of size ``scale``."""
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=1e-6, atol=1e-6 * scale)


class MergeRuleContract:
    """What every merge rule must hold. Set ``rule`` to an instance."""

    rule: ClassVar[MergeRule]
    weight_counts_as_copies: ClassVar[bool] = True
    """Whether a weight of k means the same as k contributors. Not so where contributors are selected, as by Krum."""
    scale_equivariant: ClassVar[bool] = True
    """Whether scaling all contributions scales the result. Not so under a fixed threshold, such as a clipping norm."""
    stays_in_range: ClassVar[bool] = True
    """Whether each merged value lies between the smallest and the largest contributed one."""

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_keeps_dtype_and_length_and_leaves_its_inputs_alone(self, weights: tuple[int, ...], dtype: str) -> None:
        """The result is a new array of the contributions' dtype; the contributions may be read-only."""
        vectors = contributions(len(weights), dtype=dtype)
        before = [vector.tobytes() for vector in vectors]
        for vector in vectors:
            vector.flags.writeable = False
        merged = apply_rule(self.rule, vectors, weights)
        assert merged.dtype == numpy_dtype(dtype)
        assert merged.shape == (SIZE,)
        assert [vector.tobytes() for vector in vectors] == before
        assert not any(np.shares_memory(merged, vector) for vector in vectors)

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_equal_contributions_come_out_unchanged(self, weights: tuple[int, ...], dtype: str) -> None:
        """Peers that agree keep their weights to the bit, signed zeros included."""
        vector = contributions(1, dtype=dtype)[0]
        vector[:2] = -0.0, 0.0
        assert apply_rule(self.rule, [vector] * len(weights), weights).tobytes() == vector.tobytes()

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_merging_in_place_and_measuring_change_no_result(self, weights: tuple[int, ...], dtype: str) -> None:
        """``merge_into`` and ``merge_measured`` give the bytes of ``merge``, and how far each contribution is off."""
        *vectors, origin = contributions(len(weights) + 1, dtype=dtype)
        merged = self.rule.merge(vectors, weights)
        into, measured = np.empty_like(origin), np.empty_like(origin)
        self.rule.merge_into(vectors, weights, into)
        squared = self.rule.merge_measured(vectors, weights, origin, measured)
        assert into.tobytes() == measured.tobytes() == merged.tobytes()
        exact = [np.square(vector.astype(float) - origin.astype(float)).sum() for vector in vectors]
        assert squared == pytest.approx(exact, rel=1e-4)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_measuring_tells_who_is_not_finite(self, bad: float) -> None:
        """Whatever comes of the merge then: nobody will use it."""
        *vectors, origin = contributions(4)
        vectors[1][SIZE // 2] = bad
        squared = self.rule.merge_measured(vectors, (1, 1, 1), origin, np.empty_like(origin))
        assert [bool(np.isfinite(far)) for far in squared] == [True, False, True]

    @pytest.mark.parametrize("weights", CASES)
    def test_is_deterministic(self, weights: tuple[int, ...]) -> None:
        """The same inputs give the same bytes, and no state is carried from one call to the next."""
        vectors = contributions(len(weights))
        first = apply_rule(self.rule, vectors, weights)
        apply_rule(self.rule, contributions(len(weights), seed=1), weights)
        assert apply_rule(self.rule, vectors, weights).tobytes() == first.tobytes()

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("cuts", [(128,), (1,), (0, 256), (100, 100, 200), tuple(range(1, SIZE))], ids=len)
    def test_slices_give_the_whole_result(self, weights: tuple[int, ...], dtype: str, cuts: tuple[int, ...]) -> None:
        """However the vector is shared out among owners, empty slices included.

        The bytes are equal, but for GRAM rules: their inner products add up in another order, which shifts the
        coefficients by a rounding error.
        """
        vectors = contributions(len(weights), dtype=dtype)
        slices = [slice(*ends) for ends in zip((0, *cuts), (*cuts, SIZE), strict=True)]
        whole = apply_rule(self.rule, vectors, weights)
        sliced = apply_rule(self.rule, vectors, weights, slices)
        if self.rule.scope is Scope.GRAM:
            tolerance = max(EPSILON[dtype], 1e-12)
            wide = whole.astype(np.float64)
            np.testing.assert_allclose(sliced.astype(np.float64), wide, rtol=tolerance, atol=tolerance)
        else:
            assert sliced.tobytes() == whole.tobytes()

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_accepts_an_empty_model(self, dtype: str) -> None:
        """A segment may have no elements."""
        empty = contributions(3, dtype=dtype, size=0)
        assert apply_rule(self.rule, empty, (1, 2, 3)).tobytes() == b""

    @pytest.mark.parametrize("weights", CASES)
    def test_order_of_the_contributors_does_not_matter(self, weights: tuple[int, ...]) -> None:
        """A permutation of contributors with their weights changes the result by rounding at most."""
        vectors = contributions(len(weights))
        order = np.random.default_rng(2).permutation(len(weights))
        merged = apply_rule(self.rule, [vectors[i] for i in order], [weights[i] for i in order])
        assert_close(merged, apply_rule(self.rule, vectors, weights).astype(np.float64))

    @pytest.mark.parametrize("weights", CASES)
    def test_is_translation_equivariant(self, weights: tuple[int, ...]) -> None:
        """Merging weights is the same as merging updates to any common model."""
        vectors = [vector.astype(np.float64) for vector in contributions(len(weights))]
        shift = 10 * np.random.default_rng(3).standard_normal(SIZE)
        merged = apply_rule(self.rule, [vector + shift for vector in vectors], weights)
        assert_close(merged, apply_rule(self.rule, vectors, weights).astype(np.float64) + shift)

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("factor", [-3.0, 1e-4, 1e4])
    def test_is_scale_equivariant(self, weights: tuple[int, ...], factor: float) -> None:
        """Another unit of the weights changes nothing else."""
        if not self.scale_equivariant:
            pytest.skip("opted out by scale_equivariant")
        vectors = [vector.astype(np.float64) for vector in contributions(len(weights))]
        merged = apply_rule(self.rule, [factor * vector for vector in vectors], weights)
        assert_close(merged, factor * apply_rule(self.rule, vectors, weights).astype(np.float64), abs(factor))

    @pytest.mark.parametrize("weights", CASES)
    def test_only_relative_weights_matter(self, weights: tuple[int, ...]) -> None:
        """Doubling every weight changes nothing."""
        vectors = contributions(len(weights))
        merged = apply_rule(self.rule, vectors, [2 * weight for weight in weights])
        assert_close(merged, apply_rule(self.rule, vectors, weights).astype(np.float64))

    @pytest.mark.parametrize("weights", [(2, 1), (3, 1, 2), (1, 4, 2, 2)])
    def test_a_weight_counts_as_copies(self, weights: tuple[int, ...]) -> None:
        """A contributor of weight k is worth k equal ones of weight 1."""
        if not self.weight_counts_as_copies:
            pytest.skip("opted out by weight_counts_as_copies")
        vectors = contributions(len(weights))
        copies = [vector for vector, weight in zip(vectors, weights, strict=True) for _ in range(weight)]
        merged = apply_rule(self.rule, copies, [1] * len(copies))
        assert_close(merged, apply_rule(self.rule, vectors, weights).astype(np.float64))

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_each_value_lies_between_the_contributed_ones(self, weights: tuple[int, ...], dtype: str) -> None:
        """No coordinate leaves the range of the contributions by more than a rounding."""
        if not self.stays_in_range:
            pytest.skip("opted out by stays_in_range")
        vectors = np.stack([vector.astype(np.float64) for vector in contributions(len(weights), dtype=dtype)])
        merged = apply_rule(self.rule, [vector.astype(numpy_dtype(dtype)) for vector in vectors], weights)
        slack = EPSILON[dtype] * np.abs(vectors).max(axis=0)
        values = merged.astype(np.float64)
        assert (vectors.min(axis=0) - slack <= values).all()
        assert (values <= vectors.max(axis=0) + slack).all()

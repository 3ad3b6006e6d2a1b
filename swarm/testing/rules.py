"""The contract of a merge rule, as a pytest class.

Subclass it in a test module and name your rule::

    class TestMyRule(MergeRuleContract):
        rule = MyRule()

What a rule must keep, and what its test says where it does not:

- **Subclassing.** It is an instance of a subclass of ``MergeRule``. A subclass of it that overrides ``merge`` (with the
  scope GRAM, ``coefficients``) is merged by what it overrides.
- **Signed zeros.** Where all contributions hold the same bits, the result does: -0.0 stays -0.0, and 0.0 stays 0.0.
- **Slices.** Merging slices one by one gives the bytes of merging the whole, however it is cut.
- **Scaling.** Scaling all weights by one factor changes nothing. Scaling all contributions scales the result.
- **Translation.** Adding one vector to all contributions, and to the reference model, adds it to the result.

Four properties are mathematically wrong for some good rules. Such a rule opts out by an attribute, see there.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import combine, partial_gram
from swarm.tensors.state import WEIGHT_DTYPES, numpy_dtype
from swarm.testing.wording import broken, differing, farthest, instance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.tensors.state import Array

CASES = ((1,), (1, 1), (3, 100), (1, 1, 1), (2, 1, 5, 3), (1,) * 8, (7, 1, 100, 13, 50, 2, 2, 90, 31))
"""Weights of the groups that each property is tried on."""
MOST_WEIGHT = 100
SIZE = 257
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def apply_rule(
    rule: MergeRule, contributions: Sequence[Array], weights: Sequence[int], slices: Sequence[slice] | None = None
) -> Array:
    """Merge whole vectors as a round does, in memory.

    Args:
        rule: the rule.
        contributions: one 1-D array per contributor, of one dtype and length; for a rule with ``needs_reference``, then
            the reference model.
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


def assert_close(actual: Array, expected: NDArray[np.float64], scale: float = 1.0, message: str = "") -> None:
    """Compare with what exact arithmetic would give, allowing for a rounding of float32 results of size ``scale``."""
    wide = actual.astype(np.float64)
    close = wide.shape == expected.shape and np.allclose(wide, expected, rtol=1e-6, atol=1e-6 * scale, equal_nan=True)
    assert close, message or f"{farthest(actual, expected)}, which is more than a rounding of float32"


class MergeRuleContract:
    """What every merge rule must hold. Set ``rule`` to an instance."""

    rule: ClassVar[MergeRule]
    weight_counts_as_copies: ClassVar[bool] = True
    """Whether a weight of k means the same as k contributors. Not so where contributors are selected, as by Krum."""
    scale_equivariant: ClassVar[bool] = True
    """Whether scaling all contributions scales the result. Not so under a fixed threshold, such as a clipping norm."""
    stays_in_range: ClassVar[bool] = True
    """Whether each merged value lies between the smallest and the largest contributed one."""

    unanimous: ClassVar[bool] = True
    """Whether equal contributions are the result. Not so for a sum of updates: only if the reference model is equal."""

    @pytest.fixture(autouse=True)
    def _usable(self) -> None:
        """Say what is missing before the tests of a property fail for another reason."""
        rule = instance_of(MergeRule, getattr(type(self), "rule", None), "rule")
        for attribute, kind in (("name", str), ("scope", Scope)):
            value = getattr(rule, attribute, None)
            assert isinstance(value, kind), broken(
                "A rule has a name, which settings call it by, and a scope, which says what a round hands it.",
                given=f"{type(rule).__name__}.{attribute}",
                got=repr(value),
                do=f"set {attribute} in the class, to a {kind.__name__}",
            )

    def _columns(
        self, weights: Sequence[int], *, dtype: str = "float32", size: int = SIZE, seed: int = 0, more: int = 0
    ) -> list[Array]:
        """Random contributions, one for each weight, then the reference model if the rule needs it, then ``more``."""
        count = len(weights) + self.rule.needs_reference + more
        return contributions(count, dtype=dtype, size=size, seed=seed)

    def _broken(self, required: str, given: str, got: str, do: str) -> str:
        return broken(f"{type(self.rule).__name__}: {required}", given=given, got=got, do=do)

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_keeps_dtype_and_length_and_leaves_its_inputs_alone(self, weights: tuple[int, ...], dtype: str) -> None:
        """The result is a new array of the contributions' dtype; the contributions may be read-only."""
        vectors = self._columns(weights, dtype=dtype)
        before = [vector.tobytes() for vector in vectors]
        given = f"{SIZE} values of {dtype} with the weights {weights}"
        merged = self.rule.merge(vectors, weights)
        changed = [index for index, vector in enumerate(vectors) if vector.tobytes() != before[index]]
        assert not changed, self._broken(
            "A rule changes none of its arguments.",
            given,
            f"contribution {changed and changed[0]} is changed",
            "work on a copy",
        )
        shared = [index for index, vector in enumerate(vectors) if np.shares_memory(merged, vector)]
        assert not shared, self._broken(
            "The result is a new array, as the memory of contributions is used again.",
            given,
            f"it shares memory with contribution {shared and shared[0]}",
            "return a copy",
        )
        for vector in vectors:
            vector.flags.writeable = False
        merged = apply_rule(self.rule, vectors, weights)
        assert (merged.dtype, merged.shape) == (numpy_dtype(dtype), (SIZE,)), self._broken(
            "The result has the dtype and the length of the contributions.",
            given,
            f"{merged.dtype}{list(merged.shape)}",
            "compute in any dtype, and return result.astype(columns[0].dtype), one value for each coordinate",
        )

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_equal_contributions_come_out_unchanged(self, weights: tuple[int, ...], dtype: str) -> None:
        """Peers that agree keep their weights to the bit, signed zeros included."""
        vector = contributions(1, dtype=dtype)[0]
        vector[:2] = -0.0, 0.0
        reference = self._columns((), dtype=dtype, seed=1)
        if not self.unanimous:
            reference = [vector] * len(reference)
        merged = apply_rule(self.rule, [*[vector] * len(weights), *reference], weights)
        assert merged.tobytes() == vector.tobytes(), self._broken(
            "Where all contributions are equal the result is the same to the bit, signed zeros included: "
            "-0.0 stays -0.0.",
            f"{len(weights)} equal contributions of {dtype} that begin with -0.0 and 0.0, with the weights {weights}",
            differing(merged, vector),
            "add up differences from one of the contributions, as swarm.merge.gram.combine does, or return the first "
            "contribution's value where all are equal",
        )

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_merging_in_place_and_measuring_change_no_result(self, weights: tuple[int, ...], dtype: str) -> None:
        """``merge_into`` and ``merge_measured`` give the bytes of ``merge``, and how far each contribution is off."""
        *vectors, origin = self._columns(weights, dtype=dtype, more=1)
        given = f"contributions of {dtype} with the weights {weights}"
        merged = self.rule.merge(vectors, weights)
        into, measured = np.empty_like(origin), np.empty_like(origin)
        self.rule.merge_into(vectors, weights, into)
        squared = self.rule.merge_measured(vectors, weights, origin, measured)
        for method, values in (("merge_into", into), ("merge_measured", measured)):
            assert values.tobytes() == merged.tobytes(), self._broken(
                f"{method}() gives the bytes of merge().",
                given,
                differing(values, merged),
                f"remove {method}() from the class, or make it compute the same as merge() in the same order",
            )
        exact = [np.square(vector.astype(float) - origin.astype(float)).sum() for vector in vectors]
        assert squared == pytest.approx(exact, rel=1e-4), self._broken(
            "merge_measured() returns the squared distance of each contribution from the origin.",
            given,
            f"{list(squared)} instead of {exact}",
            "remove merge_measured() from the class, or return squared Euclidean distances in the order of the columns",
        )

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_measuring_tells_who_is_not_finite(self, bad: float) -> None:
        """Whatever comes of the merge then: nobody will use it."""
        *vectors, origin = self._columns((1, 1, 1), more=1)
        vectors[1][SIZE // 2] = bad
        squared = self.rule.merge_measured(vectors, (1, 1, 1), origin, np.empty_like(origin))
        finite = [index != 1 for index in range(len(vectors))]
        assert [bool(np.isfinite(far)) for far in squared] == finite, self._broken(
            "merge_measured() returns NaN or infinity for a contribution that holds one, and for no other.",
            f"three contributions, the second of which holds {bad}",
            f"the squared distances {list(squared)}",
            "measure each contribution by itself, without nan_to_num and without a limit",
        )

    @pytest.mark.parametrize("weights", CASES)
    def test_is_deterministic(self, weights: tuple[int, ...]) -> None:
        """The same inputs give the same bytes, and no state is carried from one call to the next."""
        vectors = self._columns(weights)
        first = apply_rule(self.rule, vectors, weights)
        apply_rule(self.rule, self._columns(weights, seed=1), weights)
        again = apply_rule(self.rule, vectors, weights)
        assert again.tobytes() == first.tobytes(), self._broken(
            "The same contributions give the same bytes, whatever was merged in between.",
            f"the same contributions twice, with the weights {weights}",
            differing(again, first),
            "keep no state between calls, and draw no random numbers",
        )

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    @pytest.mark.parametrize("cuts", [(128,), (1,), (0, 256), (100, 100, 200), tuple(range(1, SIZE))], ids=len)
    def test_slices_give_the_whole_result(self, weights: tuple[int, ...], dtype: str, cuts: tuple[int, ...]) -> None:
        """However the vector is shared out among owners, empty slices included.

        The bytes are equal, zeros of both signs included, but for GRAM rules: their inner products add up in another
        order, which shifts the coefficients by a rounding error.
        """
        vectors = self._columns(weights, dtype=dtype)
        for index, vector in enumerate(vectors):
            vector[5:8] = 0.0 if index % 2 else -0.0
        slices = [slice(*ends) for ends in zip((0, *cuts), (*cuts, SIZE), strict=True)]
        whole = apply_rule(self.rule, vectors, weights)
        sliced = apply_rule(self.rule, vectors, weights, slices)
        wide, gram = whole.astype(np.float64), self.rule.scope is Scope.GRAM
        tolerance = max(EPSILON[dtype], 1e-12)
        close = sliced.shape == whole.shape and np.allclose(sliced.astype(np.float64), wide, tolerance, tolerance)
        assert close if gram else sliced.tobytes() == whole.tobytes(), self._broken(
            "Merging the slices of a vector one by one gives the same as merging the whole, zeros of both signs "
            f"included: {'within a rounding' if gram else 'to the bit'}.",
            f"{SIZE} values of {dtype} with the weights {weights}, cut at {cuts if len(cuts) < 9 else 'every value'}",
            farthest(sliced, whole) if gram else differing(sliced, whole),
            "let no value depend on other coordinates or on the length of the chunk: add up contributions one by one, "
            "as numpy.sum over an axis adds in an order that depends on the shape. A rule that needs whole vectors has "
            "the scope GRAM",
        )

    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_accepts_an_empty_model(self, dtype: str) -> None:
        """A segment may have no elements."""
        empty = self._columns((1, 2, 3), dtype=dtype, size=0)
        merged = apply_rule(self.rule, empty, (1, 2, 3))
        assert merged.tobytes() == b"", self._broken(
            "A chunk may have no values; then the result has none.",
            f"three contributions of {dtype} without a value",
            f"{merged.size} values",
            "return an array of the length of the contributions",
        )

    @pytest.mark.parametrize("weights", CASES)
    def test_order_of_the_contributors_does_not_matter(self, weights: tuple[int, ...]) -> None:
        """A permutation of contributors with their weights changes the result by rounding at most."""
        vectors = self._columns(weights)
        order = np.random.default_rng(2).permutation(len(weights))
        reordered = [*(vectors[place] for place in order), *vectors[len(weights) :]]
        merged = apply_rule(self.rule, reordered, [weights[place] for place in order])
        expected = apply_rule(self.rule, vectors, weights).astype(np.float64)
        message = self._broken(
            "The order of the contributors changes the result by a rounding at most.",
            f"contributions with the weights {weights}, in the order {order.tolist()}",
            farthest(merged, expected),
            "treat no contributor in another way for its place",
        )
        assert_close(merged, expected, message=message)

    @pytest.mark.parametrize("weights", CASES)
    def test_is_translation_equivariant(self, weights: tuple[int, ...]) -> None:
        """Merging weights is the same as merging updates to any common model."""
        vectors = [vector.astype(np.float64) for vector in self._columns(weights)]
        shift = 10 * np.random.default_rng(3).standard_normal(SIZE)
        merged = apply_rule(self.rule, [vector + shift for vector in vectors], weights)
        expected = apply_rule(self.rule, vectors, weights).astype(np.float64) + shift
        message = self._broken(
            "Adding the same vector to all contributions adds it to the result (translation).",
            f"contributions with the weights {weights}, and the same with a vector added",
            farthest(merged, expected),
            "contributions are weights, not updates: use their differences from one another, not their norms",
        )
        assert_close(merged, expected, message=message)

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("factor", [-3.0, 1e-4, 1e4])
    def test_is_scale_equivariant(self, weights: tuple[int, ...], factor: float) -> None:
        """Another unit of the weights changes nothing else."""
        if not self.scale_equivariant:
            pytest.skip("opted out by scale_equivariant")
        vectors = [vector.astype(np.float64) for vector in self._columns(weights)]
        merged = apply_rule(self.rule, [factor * vector for vector in vectors], weights)
        expected = factor * apply_rule(self.rule, vectors, weights).astype(np.float64)
        message = self._broken(
            "Scaling all contributions scales the result.",
            f"contributions with the weights {weights}, and the same times {factor:g}",
            farthest(merged, expected),
            "use no fixed threshold; where one is meant, as a clipping norm is, set scale_equivariant = False",
        )
        assert_close(merged, expected, abs(factor), message=message)

    @pytest.mark.parametrize("weights", CASES)
    def test_only_relative_weights_matter(self, weights: tuple[int, ...]) -> None:
        """Scaling every weight by one factor changes nothing, up to the largest weight that a peer may have."""
        vectors = self._columns(weights)
        expected = apply_rule(self.rule, vectors, weights).astype(np.float64)
        for factor in (2, 3, MOST_WEIGHT // max(weights)):
            merged = apply_rule(self.rule, vectors, [factor * weight for weight in weights])
            message = self._broken(
                "Scaling all weights by the same factor changes nothing.",
                f"contributions with the weights {weights}, and with {factor} times these",
                farthest(merged, expected),
                "divide weights by their sum",
            )
            assert_close(merged, expected, message=message)

    @pytest.mark.parametrize("weights", [(2, 1), (3, 1, 2), (1, 4, 2, 2)])
    def test_a_weight_counts_as_copies(self, weights: tuple[int, ...]) -> None:
        """A contributor of weight k is worth k equal ones of weight 1."""
        if not self.weight_counts_as_copies:
            pytest.skip("opted out by weight_counts_as_copies")
        vectors = self._columns(weights)
        copies = [vector for vector, weight in zip(vectors, weights, strict=False) for _ in range(weight)]
        merged = apply_rule(self.rule, [*copies, *vectors[len(weights) :]], [1] * len(copies))
        expected = apply_rule(self.rule, vectors, weights).astype(np.float64)
        message = self._broken(
            "A contributor of weight k counts as k equal contributors of weight 1.",
            f"contributions with the weights {weights}, and copies of them with weight 1",
            farthest(merged, expected),
            "count weights, not contributors; where contributors are selected, set weight_counts_as_copies = False in "
            "the test",
        )
        assert_close(merged, expected, message=message)

    @pytest.mark.parametrize("weights", CASES)
    @pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
    def test_each_value_lies_between_the_contributed_ones(self, weights: tuple[int, ...], dtype: str) -> None:
        """No coordinate leaves the range of the contributions by more than a rounding."""
        if not self.stays_in_range:
            pytest.skip("opted out by stays_in_range")
        vectors = np.stack([vector.astype(np.float64) for vector in self._columns(weights, dtype=dtype)])
        merged = apply_rule(self.rule, [vector.astype(numpy_dtype(dtype)) for vector in vectors], weights)
        slack = EPSILON[dtype] * np.abs(vectors).max(axis=0)
        lowest, highest, values = vectors.min(axis=0), vectors.max(axis=0), merged.astype(np.float64)
        outside = np.flatnonzero(~((lowest - slack <= values) & (values <= highest + slack)))
        place = int(outside[0]) if outside.size else 0
        assert not outside.size, self._broken(
            "Each merged value lies between the smallest and the largest contributed one (or that of the reference "
            "model).",
            f"contributions of {dtype} with the weights {weights}",
            f"value {place} is {values[place]:.9g}, contributed were {lowest[place]:.9g} to {highest[place]:.9g}",
            "check that the factors sum to 1; where values may leave the range, set stays_in_range = False in the test",
        )

    def test_what_a_subclass_overrides_counts(self) -> None:
        """``merge_into`` and ``merge_measured`` follow a subclass's ``merge``, or with GRAM its ``coefficients``."""
        *vectors, origin = self._columns((1, 1, 1), more=1)
        last, method = vectors[-1], "coefficients" if self.rule.scope is Scope.GRAM else "merge"
        overrides = {
            "coefficients": lambda _self, gram, _weights: np.eye(len(gram))[-1],
            "merge": lambda _self, columns, _weights: columns[-1].copy(),
        }
        base = type(self.rule)
        try:
            derived: MergeRule = object.__new__(type(f"{base.__name__}Derived", (base,), {method: overrides[method]}))
        except TypeError:
            return  # a class that cannot be derived from passes nothing over
        into, measured = np.empty_like(origin), np.empty_like(origin)
        derived.merge_into(vectors, (1, 1, 1), into)
        derived.merge_measured(vectors, (1, 1, 1), origin, measured)
        for shortcut, values in (("merge_into", into), ("merge_measured", measured)):
            assert values.tobytes() == last.tobytes(), self._broken(
                f"A subclass that overrides {method}() is merged by what it overrides, also by {shortcut}().",
                f"a subclass whose {method}() gives the last contribution",
                differing(values, last),
                f"call super().__init_subclass__() in __init_subclass__, and compute nothing in {shortcut}() that a "
                f"subclass may override in {method}()",
            )

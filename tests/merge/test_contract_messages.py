"""The contract reports which property a broken rule violates, for which input, and what to do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from swarm.merge import MergeRule, Scope, WeightedMean
from swarm.testing.rules import MergeRuleContract


class Rule(MergeRule):
    name, scope = "broken", Scope.COLUMN

    def merge(self, columns, weights):
        return WeightedMean().merge(columns, weights)


class Wide(Rule):
    def merge(self, columns, weights):
        return super().merge(columns, weights).astype(np.float64)


class Writing(Rule):
    def merge(self, columns, weights):
        merged = super().merge(columns, weights)
        columns[0][0] += 1
        return merged


class Returning(Rule):
    def merge(self, columns, weights):
        return columns[0]


class Unsigned(Rule):
    def merge(self, columns, weights):
        return (super().merge(columns, weights) + columns[0].dtype.type(0)).astype(columns[0].dtype)


class OtherInto(Rule):
    def merge_into(self, columns, weights, out):
        out[...] = columns[0] * 2


class Mismeasuring(Rule):
    def merge_measured(self, columns, weights, origin, out):
        self.merge_into(columns, weights, out)
        return [0.5] * len(columns)


class Counting(Rule):
    calls = itertools.count()

    def merge(self, columns, weights):
        return (super().merge(columns, weights) + next(self.calls)).astype(columns[0].dtype)


class ByLength(Rule):
    def merge(self, columns, weights):
        return (super().merge(columns, weights) * len(columns[0])).astype(columns[0].dtype)


class Never(Rule):
    def merge(self, columns, weights):
        return super().merge(columns, weights) if columns[0].size else np.zeros(1, columns[0].dtype)


class First(Rule):
    def merge(self, columns, weights):
        return columns[0].copy()


class Unweighted(Rule):
    def merge(self, columns, weights):
        return super().merge(columns, [1] * len(columns))


class Shrinking(Rule):
    def merge(self, columns, weights):
        return (super().merge(columns, weights) / 2).astype(columns[0].dtype)


class Clipping(Rule):
    def merge(self, columns, weights):
        return np.clip(super().merge(columns, weights), -0.5, 0.5).astype(columns[0].dtype)


class Absolute(Rule):
    def merge(self, columns, weights):
        return sum(column * (weight / 100) for column, weight in zip(columns, weights, strict=True))


class Light(Rule):
    """Correct for small weights only."""

    def merge(self, columns, weights):
        return super().merge(columns, weights) if sum(weights) < 50 else columns[0].copy()


class Passing(WeightedMean):
    """Calls nothing that a subclass may override."""

    def __init_subclass__(cls):
        pass


CASES: list[tuple[type[MergeRule], str, tuple[Any, ...], str]] = [
    (Wide, "keeps_dtype_and_length_and_leaves_its_inputs_alone", ((1, 1), "float32"), "dtype and the length"),
    (
        Writing,
        "keeps_dtype_and_length_and_leaves_its_inputs_alone",
        ((1, 1), "float32"),
        "changes none of its arguments",
    ),
    (Returning, "keeps_dtype_and_length_and_leaves_its_inputs_alone", ((1, 1), "float32"), "a new array"),
    (Unsigned, "equal_contributions_come_out_unchanged", ((1, 1), "float32"), "-0.0 stays -0.0"),
    (OtherInto, "merging_in_place_and_measuring_change_no_result", ((1, 1), "float32"), "merge_into() gives the bytes"),
    (Mismeasuring, "merging_in_place_and_measuring_change_no_result", ((1, 1), "float32"), "squared distance of each"),
    (Mismeasuring, "measuring_tells_who_is_not_finite", (np.nan,), "NaN or infinity for a contribution"),
    (Counting, "is_deterministic", ((1, 1),), "give the same bytes, whatever was merged"),
    (ByLength, "slices_give_the_whole_result", ((1, 1), "float32", (128,)), "the slices of a vector one by one"),
    (Never, "accepts_an_empty_model", ("float32",), "may have no values"),
    (First, "order_of_the_contributors_does_not_matter", ((3, 1, 2, 7, 9),), "order of the contributors"),
    (Shrinking, "is_translation_equivariant", ((1, 1),), "(translation)"),
    (Clipping, "is_scale_equivariant", ((1, 1), 1e4), "Scaling all contributions"),
    (Absolute, "only_relative_weights_matter", ((1, 1),), "Scaling all weights"),
    (Light, "only_relative_weights_matter", ((1, 1),), "Scaling all weights"),
    (Unweighted, "a_weight_counts_as_copies", ((2, 1),), "counts as k equal contributors"),
    (Shrinking, "each_value_lies_between_the_contributed_ones", ((1, 1), "float32"), "lies between"),
    (Passing, "what_a_subclass_overrides_counts", (), "subclass that overrides merge()"),
]


@pytest.mark.parametrize(
    ("rule", "test", "arguments", "property_"), CASES, ids=lambda case: getattr(case, "__name__", "")
)
def test_a_broken_rule_hears_what_it_must_keep(
    rule: type[MergeRule], test: str, arguments: tuple[Any, ...], property_: str
) -> None:
    contract = type("Contract", (MergeRuleContract,), {"rule": rule()})()
    with pytest.raises(AssertionError) as caught:
        getattr(contract, f"test_{test}")(*arguments)
    message = str(caught.value)
    assert property_ in message
    assert message.startswith(rule.__name__)
    assert all(part in message for part in ("given: ", "got: ", "to do: "))


def test_every_property_has_a_rule_that_breaks_it_here() -> None:
    properties = {name.removeprefix("test_") for name in vars(MergeRuleContract) if name.startswith("test_")}
    assert {test for _, test, _, _ in CASES} == properties


@pytest.mark.parametrize(
    ("rule", "got"),
    [(None, "nothing"), (WeightedMean, "the class WeightedMean"), (object(), "a object"), ("mean", "a str")],
)
def test_what_is_no_rule_is_said_at_once(rule: object, got: str) -> None:
    contract = type("Contract", (MergeRuleContract,), {"rule": rule})()
    with pytest.raises(AssertionError, match=f"(?s)instance of .*MergeRule.*{got}.*to do: derive"):
        MergeRuleContract._usable.__wrapped__(contract)


def test_a_rule_without_a_name_is_said_at_once() -> None:
    class Nameless(MergeRule):
        scope = Scope.COLUMN

        def merge(self, columns, weights):
            return columns[0].copy()

    contract = type("Contract", (MergeRuleContract,), {"rule": Nameless()})()
    with pytest.raises(AssertionError, match=r"(?s)A rule has a name.*Nameless.name.*set name in the class"):
        MergeRuleContract._usable.__wrapped__(contract)

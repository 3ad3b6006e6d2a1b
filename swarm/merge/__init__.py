"""Merge rules, which turn the contributions of a round into one model.

A rule is pure and stateless, so that the owners of all slices compute in the same way. To add one, subclass
``MergeRule``, register it through the ``swarm_register`` hook, and run the contract test
``swarm.testing.MergeRuleContract`` on it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from swarm.merge.base import MergeRule, Scope
from swarm.merge.clipping import CenteredClipping, NormClipping
from swarm.merge.coordmedian import CoordinateMedian
from swarm.merge.geomedian import GeometricMedian
from swarm.merge.mean import WeightedMean
from swarm.merge.nnm import NearestNeighbourMixing
from swarm.merge.trimmed import TrimmedMean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BUILTIN_RULES",
    "CenteredClipping",
    "CoordinateMedian",
    "GeometricMedian",
    "MergeRule",
    "NearestNeighbourMixing",
    "NormClipping",
    "Scope",
    "TrimmedMean",
    "WeightedMean",
]

BUILTIN_RULES: Mapping[str, MergeRule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            WeightedMean(),
            CoordinateMedian(),
            GeometricMedian(),
            TrimmedMean(),
            NormClipping(),
            CenteredClipping(),
            NearestNeighbourMixing(),
        )
    }
)
"""The rules that need no plugin, by the name that ``merge_method`` takes."""

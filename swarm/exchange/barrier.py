"""The barrier of rules that need distances between whole contributions.

Every member sends its part of the Gram matrix to the leader, who adds the parts up and gives everybody the same
coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from swarm.errors import ExchangeError
from swarm.exchange.layout import values_of
from swarm.merge.base import MergeRule
from swarm.merge.screen import Distance, DistanceScreen
from swarm.records import PeerId

ROUNDING = 1e-9
"""How far the sum of a rule's coefficients may lie from 1."""

Matrix = NDArray[np.float64]


def too_large(part: Matrix) -> bool:
    """Whether distances cannot be told from such inner products of one member's slice: some are NaN or overflow."""
    return not bool((np.abs(part) <= np.finfo(np.float64).max / (8 * len(part) ** 2)).all())


class GramBarrier:
    """The parts of the Gram matrix, at the leader, and the coefficients, at everybody."""

    def __init__(
        self, rule: MergeRule, members: Sequence[PeerId], weights: Sequence[int], training: Mapping[int, int]
    ) -> None:
        """``training``: the places of those that still train, which a check of distances compares, with their steps."""
        self._rule = rule
        self._training = training
        self.far: dict[int, Distance] = {}
        """At the leader: the places of the contributors that such a check has left out."""
        self._members = members
        self._weights = weights
        self._rows = len(weights) + rule.needs_reference
        self._parts: dict[PeerId, Matrix] = {}
        self.coefficients: Matrix | None = None
        """The factors of the contributions, once they are known here."""

    @property
    def unused(self) -> frozenset[int]:
        """Under a check of distances: the places of the contributors that it leaves out, as the coefficients say."""
        if self.coefficients is None or not isinstance(self._rule, DistanceScreen):
            return frozenset()
        unused = frozenset(place for place in range(len(self._weights)) if self.coefficients[place] == 0)
        return unused if len(unused) < len(self._weights) else frozenset()

    @property
    def part_nbytes(self) -> int:
        """Bytes of one member's part of the matrix."""
        return 8 * self._rows**2

    @property
    def coefficients_nbytes(self) -> int:
        """Bytes of the coefficients."""
        return 8 * self._rows

    def put(self, member: PeerId, part: Matrix) -> None:
        """A member's part of the matrix, computed or checked."""
        self._parts[member] = part

    def has(self, member: PeerId) -> bool:
        """Whether a member's part is here."""
        return member in self._parts

    def take(self, sender: PeerId, payload: memoryview) -> None:
        """Take another member's part.

        Raises:
            ExchangeError: no vectors have such inner products, or it comes twice.
        """
        count = self._rows
        if self.has(sender):
            raise ExchangeError(f"{sender} sent a Gram matrix that nobody waits for")
        part = values_of(payload, "float64", count * count).reshape(count, count).astype(np.float64)
        if too_large(part):
            raise ExchangeError(f"{sender} sent a Gram matrix with NaN, infinity or numbers that are too large")
        if not np.allclose(part, part.T) or (part.diagonal() < 0).any():
            raise ExchangeError(
                f"{sender} sent inner products that no vectors have: not symmetric, or negative squares"
            )
        self.put(sender, part)

    def solve(self) -> Matrix | None:
        """The coefficients, once every member's part is here."""
        if len(self._parts) < len(self._members):
            return None
        total = np.zeros((self._rows,) * 2)
        for member in self._members:
            total += self._parts[member]
        if isinstance(self._rule, DistanceScreen):
            self.far = self._rule.far(total, self._training)
            self.coefficients = self._rule.without(total, self._weights, self.far)
        else:
            self.coefficients = self._rule.coefficients(total, self._weights)
        return self.coefficients

    def accept(self, sender: PeerId, payload: memoryview) -> Matrix:
        """Take the leader's coefficients.

        Raises:
            ExchangeError: they are no coefficients of this group, or come twice.
        """
        if self.coefficients is not None:
            raise ExchangeError(f"{sender} sent coefficients that nobody waits for")
        coefficients = values_of(payload, "float64", self._rows).astype(np.float64)
        if not np.isfinite(coefficients).all():
            raise ExchangeError(f"{sender} sent coefficients with NaN or infinity")
        if abs(coefficients.sum() - 1) > ROUNDING:
            raise ExchangeError(f"{sender} sent coefficients with the sum {coefficients.sum():g} instead of 1")
        if self._rule.convex and (coefficients < 0).any():
            # Else a leader could give the result any value: two contributions, a thousand and minus 999 times.
            raise ExchangeError(f"{sender} sent a negative coefficient, which {self._rule.name} never gives")
        self.coefficients = coefficients
        return coefficients

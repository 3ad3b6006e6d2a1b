"""Merges the chunks of the slice that this member reduces, and codes what they come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from types import MappingProxyType

import numpy as np

from swarm.errors import ContributionError
from swarm.exchange.barrier import Matrix, too_large
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.layout import Chunk
from swarm.exchange.reduce_buffer import ReduceBuffer
from swarm.merge.base import MergeRule
from swarm.merge.distance import squared_distance
from swarm.merge.gram import combine, partial_gram
from swarm.merge.moments import moments_rule, plausible
from swarm.merge.steps import scaled
from swarm.records import PeerId
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import Array, ModelState, dtype_name, is_finite

LARGEST = {dtype: float(np.finfo(dtype).max) / 4 for dtype in (np.float32, np.float64)}
"""A sum of two larger differences may be more than the dtype holds. Half precision is merged in float32."""

NO_FACTORS: Mapping[PeerId, float] = MappingProxyType({})


class ChunkMerger:
    """May run on several threads at once, each with a chunk of its own.

    Args:
        rule: how weights are merged.
        weights: of the contributors, by name.
        buffer: the contributions.
        coder: of the attempt.
        result: where merged chunks go.
        memory: for what is merged and not sent as it is.
        factors: how many times as far from the model of the round before each contributor is taken, by name; 1 where
            it is not named.
    """

    def __init__(
        self,
        rule: MergeRule,
        weights: Mapping[PeerId, int],
        buffer: ReduceBuffer,
        coder: ChunkCoder,
        result: ModelState,
        memory: BufferPool,
        factors: Mapping[PeerId, float] = NO_FACTORS,
    ) -> None:
        self._rule = rule
        self._weights = weights
        self._buffer = buffer
        self._coder = coder
        self._segments = tuple(result.segments.values())
        self._moments = result.schema.moments
        self._memory = memory
        self._factors = factors
        self.absurd: set[PeerId] = set()
        """Contributors whose moments were left out of a chunk, because they are far larger than those of the others."""

    def merge(self, chunk: Chunk) -> memoryview:
        """Merge a chunk of which every contribution is here, measuring each, and code it.

        Raises:
            ContributionError: one holds NaN or infinity, or values that are too large.
            ValueError: the rule gives NaN, infinity or no such chunk.
        """
        return self._coded(chunk, partial(self._merge_into, chunk))

    def combine(self, chunk: Chunk, coefficients: Matrix) -> memoryview:
        """Merge a chunk as a linear combination of its contributions, and code it.

        Raises:
            ContributionError: one holds values that are too large.
            ValueError: the coefficients make NaN or infinity of contributions that have none.
        """
        return self._coded(chunk, partial(combine, self._rows(chunk), coefficients))

    def gram(self, chunks: Iterable[Chunk]) -> Matrix:
        """The inner products of the rows, added up over ``chunks``, of which every contribution is here.

        Raises:
            ContributionError: one holds values that are too large.
        """
        total: Matrix = np.zeros((len(self._weights) + self._rule.needs_reference,) * 2)
        with np.errstate(all="ignore"):  # what NumPy would warn of is refused below
            for chunk in chunks:
                total += partial_gram(self._rows(chunk))
                if too_large(total):
                    raise self._too_far(*max(self._reaches(chunk), key=itemgetter(1)))
        return total

    def _rows(self, chunk: Chunk) -> list[Array]:
        """What a rule with the scope GRAM combines: the contributions, and the reference model if it needs that."""
        reference = self._coder.origin(chunk) if self._rule.needs_reference else None
        contributions = self._contributions(chunk)
        return contributions if reference is None else [*contributions, reference]

    def _contributions(self, chunk: Chunk) -> list[Array]:
        """A chunk of each contribution as it is merged."""
        parts, origin = self._buffer.of(chunk), self._coder.origin(chunk)
        if origin is None or not self._factors or chunk.segment == self._moments:
            return parts
        factors = (self._factors.get(peer, 1.0) for peer in self._buffer.contributors(chunk))
        return [scaled(values, origin, factor) for values, factor in zip(parts, factors, strict=True)]

    def _merge_into(self, chunk: Chunk, out: Array) -> None:
        parts, origin = self._buffer.of(chunk), self._coder.origin(chunk)
        contributors = self._buffer.contributors(chunk)
        weights = [self._weights[peer] for peer in contributors]
        if chunk.segment == self._moments:
            places = plausible(parts)
            self.absurd |= {*contributors} - {contributors[place] for place in places}
            chosen, shares = [parts[place] for place in places], [weights[place] for place in places]
            moments_rule(self._rule).merge_into(chosen, shares, out)
            return
        if origin is None:
            self._rule.merge_into(parts, weights, out)
            return
        taken = self._contributions(chunk)
        if all(one is other for one, other in zip(taken, parts, strict=True)):
            squared = self._rule.merge_measured(parts, weights, origin, out)
        else:
            self._rule.merge_into(taken, weights, out)
            squared = [squared_distance(values, origin) for values in parts]
        for peer, values, distance in zip(contributors, parts, squared, strict=True):
            if not math.isfinite(distance) and not is_finite(values):
                raise ContributionError(peer, f"{peer} sent a contribution that cannot be: NaN or infinity")
        self._buffer.measured(chunk, squared)

    def _coded(self, chunk: Chunk, merge: Callable[[Array], object]) -> memoryview:
        """What ``merge`` makes of a chunk, as it travels: all members take what that says, this one included."""
        target = self._segments[chunk.segment][chunk.start : chunk.stop]
        dtype = dtype_name(target.dtype)
        if self._coder.verbatim(chunk, dtype, target.nbytes):
            self._run(chunk, merge, target)
            return self._coder.encode(chunk, target)
        # The coding error may be computed after the round, when the target holds what the payload says.
        merged = self._memory.empty(target.size, dtype)
        self._run(chunk, merge, merged)
        payload = self._coder.encode(chunk, merged)
        self._coder.decode(chunk, payload, target)
        return payload

    def _run(self, chunk: Chunk, merge: Callable[[Array], object], out: Array) -> None:
        with np.errstate(all="ignore"):  # what NumPy would warn of is refused, below or for its distance
            merge(out)
            if is_finite(out):
                return
            largest = LARGEST[np.float64 if out.dtype == np.float64 else np.float32] / len(self._weights)
            for peer, reach in self._reaches(chunk):
                if reach > largest:
                    raise self._too_far(peer, reach)
        raise ValueError(f"merge rule {self._rule.name!r} gave NaN or infinity for contributions that have none")

    def _reaches(self, chunk: Chunk) -> list[tuple[PeerId, float]]:
        """Each contributor with the largest absolute value that it has in ``chunk``."""
        parts = zip(self._buffer.contributors(chunk), self._contributions(chunk), strict=True)
        return [(peer, float(np.abs(values.astype(np.float64)).max(initial=0.0))) for peer, values in parts]

    @staticmethod
    def _too_far(peer: PeerId, reach: float) -> ContributionError:
        return ContributionError(peer, f"{peer} sent a contribution that cannot be merged: a value of {reach:.3g}")

"""The interface of a merge rule."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.distance import squared_distance
from swarm.merge.gram import combine, partial_gram
from swarm.overrides import definer, is_outdated
from swarm.tensors.state import is_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.tensors.state import Array


class Scope(enum.StrEnum):
    """Which part of the contributions a rule needs before it can compute the first merged value."""

    STREAM = "stream"
    """One aligned chunk of every contribution; chunks may be merged as they arrive."""
    COLUMN = "column"
    """All contributions' values of a coordinate at once."""
    GRAM = "gram"
    """The pairwise distances of the whole vectors, then the values: a linear combination of the contributions."""


class MergeRule:
    """How the contributions to a round become one model.

    A subclass sets ``name`` and ``scope`` and defines one method: ``merge``, or for the scope GRAM ``coefficients``.
    It keeps no state and does not change its arguments. It receives only contributors with a weight above 0, in the
    order of the round. Weights are integers above 0: 1 to 100, or numbers of samples, up to 10⁹.

    ``merge_into`` and ``merge_measured`` are optional faster methods with the same result. A class that overrides
    ``merge`` does not inherit them, so that its ``merge`` is always used.

    Contributions are weights, not updates, so a rule must be translation-equivariant: adding a constant vector to every
    contribution adds it to the result. (With ``needs_reference``, to the reference model too.)
    """

    name: ClassVar[str]
    """The value of ``merge_method`` that selects it."""
    scope: ClassVar[Scope]
    robust: ClassVar[bool] = False
    """Whether it limits the effect of arbitrary contributions. BatchNorm statistics are then merged by median."""
    needs_reference: ClassVar[bool] = False
    """Whether it measures contributions from the reference model, the one that training started from. Only for the
    scope GRAM: the reference model is then one more column, after those of the contributions, and has no weight."""
    convex: ClassVar[bool] = False
    """Whether no coefficient is negative. Only for the scope GRAM: members then refuse negative ones of a leader."""
    fewest: int = 1
    """Contributors without which it does not limit a single bad one. A swarm of fewer peers does not start."""

    def __init_subclass__(cls) -> None:
        """Reject a rule whose method no round would call, and disable inherited faster methods that do not match it.

        Raises:
            TypeError: the method that the scope needs is missing, or the one of the other scope is overridden, or
                ``needs_reference`` is set for another scope than GRAM.
        """
        super().__init_subclass__()
        if cls.needs_reference and cls.scope is not Scope.GRAM:
            raise TypeError(
                f"merge rule {cls.__name__} has the scope {cls.scope}, which no reference model is given to"
            )
        needed = "coefficients" if cls.scope is Scope.GRAM else "merge"
        if getattr(cls, needed) is getattr(MergeRule, needed):
            raise TypeError(f"merge rule {cls.__name__} has the scope {cls.scope}, so it must define {needed}()")
        cls._reject_unused_overrides()
        if is_outdated(cls, "merge_into", "merge"):
            cls.merge_into = MergeRule.merge_into  # type: ignore[method-assign]
        if is_outdated(cls, "merge_measured", "merge", "merge_into"):
            cls.merge_measured = MergeRule.merge_measured  # type: ignore[method-assign]

    @classmethod
    def _reject_unused_overrides(cls) -> None:
        """Rounds call only ``coefficients`` of a GRAM rule, and only ``merge`` of other rules."""
        if cls.scope is Scope.GRAM:
            if cls.merge is MergeRule.merge:
                return
            if definer(cls, "merge") <= definer(cls, "coefficients"):
                raise TypeError(
                    f"merge rule {cls.__name__} overrides merge(), which no round calls for the scope {cls.scope}:"
                    " override coefficients(), or set scope = Scope.COLUMN and merge the chunks"
                )
            cls.merge = MergeRule.merge  # type: ignore[method-assign]
            return
        source = cls.__mro__[definer(cls, "merge")]
        if definer(cls, "coefficients") < definer(cls, "merge") and not _has_coefficients(source):
            raise TypeError(
                f"merge rule {cls.__name__} overrides coefficients(), which no round calls for the scope {cls.scope}:"
                " override merge(), or set scope = Scope.GRAM"
            )

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned chunks of the contributions; for a GRAM rule, whole vectors only.

        The rule merges only weights. Statistics, counters and other buffers are merged by ``swarm.merge.side``.

        Args:
            columns: one chunk of each contribution, 1-D, of one dtype and length (which may be 0); with
                ``needs_reference`` then that of the reference model.
            weights: one per contribution.

        Returns:
            The merged chunk, a new array of the same dtype and length.
        """
        return combine(columns, self.coefficients(partial_gram(columns), weights))

    def merge_into(self, columns: Sequence[Array], weights: Sequence[int], out: Array) -> None:
        """Like ``merge``, into ``out``, which overlaps no column. Overriding this can save a copy."""
        merged: object = self.merge(columns, weights)
        if not isinstance(merged, np.ndarray) or (merged.shape, merged.dtype) != (out.shape, out.dtype):
            given = f"{merged.dtype}{list(merged.shape)}" if isinstance(merged, np.ndarray) else type(merged).__name__
            raise ValueError(
                f"merge rule {self.name!r} gave {given} for chunks of {out.dtype}{list(out.shape)}: "
                "merge() returns a new array like one of its columns"
            )
        out[...] = merged

    def merge_measured(
        self, columns: Sequence[Array], weights: Sequence[int], origin: Array, out: Array
    ) -> Sequence[float]:
        """Like ``merge_into``, and measure the distance of each chunk from ``origin`` for the check of norms.

        Overriding this can save a pass over memory.

        Args:
            columns: as in ``merge``, but values may be NaN or infinite; the merged values are then undefined.
            weights: one per contribution.
            origin: the same chunk of the model that training started from.
            out: receives the merged chunk.

        Returns:
            The squared Euclidean distance of each column. It is NaN or infinite if values are not finite (or if it is
            out of the range of float64).
        """
        squared = [squared_distance(column, origin) for column in columns]
        if all(math.isfinite(far) or is_finite(column) for far, column in zip(squared, columns, strict=True)):
            self.merge_into(columns, weights, out)
        return squared

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution in the merged model; only for rules with the scope GRAM.

        Args:
            gram: inner products of the contributions as float64[n, n], relative to an unspecified common origin: use
                only differences, such as ``gram[i, i] + gram[j, j] - 2 * gram[i, j]``. With ``needs_reference`` it is
                float64[n + 1, n + 1], and its last row is that of the reference model.
            weights: one per contribution.

        Returns:
            One factor for each row of ``gram``, with the sum 1.
        """
        raise NotImplementedError(f"merge rule {self.name!r} has the scope {self.scope} and therefore no coefficients")


def _has_coefficients(source: type) -> bool:
    """Whether a class defines coefficients, which its ``merge`` may use."""
    return getattr(source, "coefficients", MergeRule.coefficients) is not MergeRule.coefficients

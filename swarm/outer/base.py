"""The interface of an outer optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating[Any]]


class OuterOptimizer(ABC):
    """The step from one committed model to the next, elementwise.

    It only adds, multiplies, divides and takes square roots, each of which gives the same bits on every machine.
    """

    roles: ClassVar[tuple[str, ...]]
    """What it remembers of each weight, zero at first: the names of its state."""

    @abstractmethod
    def change(self, gradient: Numbers, state: Sequence[Numbers]) -> Numbers:
        """Advance ``state`` by a pseudo-gradient, in place; returns the merged weights minus those after the step.

        The change is exactly zero where the step gives the merged weights, as for weights that nobody has trained.

        Args:
            gradient: the weights before the round minus the merged ones: float32[n], or float64[n].
            state: an array for each of ``roles``, of the shape and dtype of ``gradient``.
        """

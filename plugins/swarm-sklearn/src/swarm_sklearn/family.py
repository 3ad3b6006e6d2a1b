"""What Swarm has to know of a kind of estimator, and what all kinds share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing  # documented for developers of estimators

from swarm.errors import ConfigurationError
from swarm.tensors import TensorKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swarm.tensors import Array, Tree


class Named(NamedTuple):
    """A tensor of an estimator."""

    name: str
    values: Array
    kind: TensorKind = TensorKind.WEIGHT


class Family(ABC):
    """One kind of estimator: its initial state, its tensors, and how merged values become its state."""

    state: ClassVar[str]
    """An attribute that an estimator has once its tensors exist."""
    additive: ClassVar[bool] = False
    """Whether the tensors are counts and sums over samples, which are added up instead of averaged."""
    once: ClassVar[bool] = False
    """Whether each sample may be learnt from only once."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that decide, with the tensors, what the estimator predicts: the same at every site."""
    own: ClassVar[tuple[str, ...]] = ()
    """Attributes that each site keeps to itself, and that its further training depends on."""

    def __init__(self, estimator: Any) -> None:
        """Check the estimator's parameters.

        Raises:
            ConfigurationError: one of them cannot be merged.
        """
        self.estimator = estimator
        self.check()

    def check(self) -> None:  # noqa: B027
        """Override: refuse parameters with which estimators cannot be merged.

        Raises:
            ConfigurationError: a parameter has such a value.
        """

    @property
    def ready(self) -> bool:
        """Whether the estimator has its tensors."""
        return hasattr(self.estimator, self.state)

    def initialise(self, x: Any, y: Any, classes: Sequence[Any] | None) -> None:
        """Set the state that training starts from, as scikit-learn would; forget any other.

        A copy of the estimator learns one row, because ``partial_fit`` alone creates all attributes. What it has learnt
        is then replaced by the initial values.

        Args:
            x: samples of this site; only their number of features, dtype and column names count.
            y: targets, of which a regressor takes the shape.
            classes: all classes of a classifier, sorted.
        """
        probe = self._probe(x, y, classes)
        parameters = self.estimator.get_params(deep=False)
        for name in vars(self.estimator).keys() - parameters.keys():
            delattr(self.estimator, name)
        for name in vars(probe).keys() - parameters.keys():
            setattr(self.estimator, name, getattr(probe, name))
        self.reset()

    def _probe(self, x: Any, y: Any, classes: Sequence[Any] | None) -> Any:
        """A copy of the estimator that has learnt one row."""
        row = _safe_indexing(x, [0])
        if is_classifier(self.estimator):
            labels = np.asarray(classes)
            return self.copy().partial_fit(row, labels[:1], classes=labels)
        return self.copy().partial_fit(row, np.zeros(1) if y is None else np.zeros_like(_safe_indexing(y, [0])))

    def copy(self) -> Any:
        """An estimator with the same parameters that has learnt nothing."""
        return clone(self.estimator)

    @abstractmethod
    def reset(self) -> None:
        """Give all learnt attributes their initial values."""

    @abstractmethod
    def tensors(self) -> list[Named]:
        """The tensors that are merged, in a fixed order."""

    @abstractmethod
    def assign(self, values: Mapping[str, Array]) -> None:
        """Set the state from the values of all tensors."""

    def own_state(self) -> dict[str, Tree]:
        """The values of ``own`` now, those that exist; for checkpoints. Arrays are copies."""
        found = {name: getattr(self.estimator, name) for name in self.own if hasattr(self.estimator, name)}
        return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}

    def set_own_state(self, state: Mapping[str, Tree]) -> None:
        """Set what ``own_state`` has returned for an estimator with the same tensors.

        Raises:
            ModelError: it is that of another optimizer.
        """
        for name in self.own:
            if name in state:
                setattr(self.estimator, name, state[name])

    def batch_trained(self) -> None:  # noqa: B027
        """Override: ``partial_fit`` was called once."""

    def training_ends(self) -> None:  # noqa: B027
        """Override: the last batch is trained, and no merge may follow."""

    def facts(self) -> dict[str, object]:
        """What must be the same at all sites, besides the shapes of the tensors: for the setting ``agree``."""
        estimator = self.estimator
        facts: dict[str, object] = {"estimator": type(estimator).__name__}
        for name in self.parameters:
            if (value := getattr(estimator, name)) is not None:
                facts[f"estimator.{name}"] = value.tolist() if isinstance(value, np.ndarray) else value
        if is_classifier(estimator):
            facts["classes"] = np.asarray(estimator.classes_).tolist()
        if hasattr(estimator, "feature_names_in_"):
            facts["features"] = estimator.feature_names_in_.tolist()
        return facts


class ArrayFamily(Family):
    """An estimator whose tensors are its own arrays."""

    def assign(self, values: Mapping[str, Array]) -> None:
        for name, array, _ in self.tensors():
            array[...] = values[name]  # in place: other attributes of the estimator may refer to the same array


def refuse(estimator: Any, parameter: str, remedy: str) -> ConfigurationError:
    """The error for a value of a parameter with which estimators cannot be merged."""
    value = getattr(estimator, parameter)
    shown = f"an array of shape {list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
    return ConfigurationError(f"{parameter}={shown} of {type(estimator).__name__} is not possible in a swarm: {remedy}")

"""The state of a Keras optimizer: which variables belong to which weight, and how they are read, set and reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import optimizers

from swarm.errors import ConfigurationError
from swarm.tensors import OptimizerState, TensorKind, moment, nadam_product, steps
from swarm_keras.port import attach_state, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swarm.tensors import Schema, StateArrays, TensorSpec

_MOMENT, _ROOT = TensorKind.MOMENT, TensorKind.ROOT_MOMENT


class _Slot(NamedTuple):
    """Variables that an optimizer keeps, one for each weight that it trains."""

    role: str
    kind: TensorKind
    attribute: str
    centre: str = ""
    """Attribute of other variables: if they are kept, their squares are subtracted from these means of squares.
    Otherwise rounding could make the difference of the two, by whose root the optimizer divides, negative or 0."""
    first: str = ""
    """Attribute of the optimizer with the value before the first step; 0 without one."""


_MEAN, _SQUARE = _Slot("momentum", _MOMENT, "_momentums"), _Slot("velocity", _ROOT, "_velocities")
_SLOTS: Mapping[type[Any], tuple[_Slot, ...]] = {
    optimizers.SGD: (_Slot("momentum", _MOMENT, "momentums"),),
    optimizers.Adam: (_MEAN, _SQUARE, _Slot("velocity_hat", _ROOT, "_velocity_hats")),
    optimizers.Nadam: (_MEAN, _SQUARE),
    optimizers.Adamax: (_Slot("momentum", _MOMENT, "_m"), _Slot("norm", _MOMENT, "_u")),
    optimizers.RMSprop: (
        _Slot("average_gradient", _MOMENT, "_average_gradients"),
        _Slot("velocity", _ROOT, "_velocities", centre="_average_gradients"),
        _MEAN,
    ),
    optimizers.Adagrad: (_Slot("accumulator", _ROOT, "_accumulators", first="initial_accumulator_value"),),
    optimizers.Adadelta: (
        _Slot("accumulated_grad", _ROOT, "_accumulated_grads"),
        _Slot("accumulated_delta", _ROOT, "_accumulated_delta_vars"),
    ),
    optimizers.Lion: (_MEAN,),
}
"""What each class keeps; its subclasses keep the same, as AdamW does. ``_ROOT`` is a mean or sum of squares."""


class _Place(NamedTuple):
    """The variables of one weight."""

    spec: TensorSpec
    number: int
    """Of the weight, in the lists of the optimizer."""
    slots: tuple[_Slot, ...]


class KerasOptimizerState(OptimizerState):
    """The state of the optimizer that a model is compiled with, also inside a ``LossScaleOptimizer``.

    Its step counter is the number of optimizer steps, ``iterations``: a schedule of the learning rate follows it. With
    accumulated gradients, merges wait until none is pending, so that none has to be shared.

    Args:
        setting: ``optimizer_state``, for messages.
        model: has the optimizer when training begins.
        variables: gives the variables of the model that take part, in the order of its schema.
    """

    def __init__(self, setting: str, model: Any, variables: Callable[[], Sequence[Any]]) -> None:
        super().__init__(setting)
        self._model = model
        self._variables = variables
        self._places: tuple[_Place, ...] = ()

    def tensors(self, model: Schema) -> tuple[TensorSpec, ...]:
        optimizer, kept = self._optimizer(), self._slots()
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        lists = [slot for slot in kept if _list(optimizer, slot.attribute)]
        numbers = {id(variable): number for number, variable in enumerate(optimizer._trainable_variables)}  # noqa: SLF001
        self._places = tuple(
            _Place(spec, numbers[id(variable)], tuple(lists))
            for spec, variable in zip(model.tensors, self._variables(), strict=True)
            if spec.kind is TensorKind.WEIGHT and id(variable) in numbers
        )
        if not self._places:
            raise ConfigurationError(
                f"optimizer_state={self._setting!r} needs the optimizer of the model, but it trains no variable that is"
                " merged"
            )
        for place in self._places:
            self._require_whole(optimizer, place)
        moments = [
            moment(f"optimizer.{slot.role}", place.spec, slot.kind) for place in self._places for slot in place.slots
        ]
        return (*moments, steps("optimizer", ())) if moments else ()

    def read(self, into: StateArrays) -> None:
        attach_state(self._model)
        optimizer, arrays = self._optimizer(), iter([array for _, array in into])
        for place in self._places:
            for slot in place.slots:
                values = _real(values_of(_list(optimizer, slot.attribute)[place.number]))
                if slot.kind is _ROOT:
                    values = _root(values, _centre(optimizer, slot, place))
                next(arrays)[...] = values
        if self._places and self._places[0].slots:
            next(arrays)[...] = _count(optimizer)

    def write(self, state: StateArrays, *, keep: bool = False) -> None:
        counts = [int(array) for spec, array in state if spec.kind is TensorKind.STEPS]
        if not counts or counts[0] <= 0:
            return
        attach_state(self._model)
        optimizer, arrays = self._optimizer(), iter([array for _, array in state])
        for place in self._places:
            for slot in place.slots:
                variable, values = _list(optimizer, slot.attribute)[place.number], next(arrays)
                if keep and place.spec.kept:
                    continue
                if slot.kind is _ROOT:
                    values = _square(values, _centre(optimizer, slot, place), variable)
                _assign(variable, values.astype(np.float64 if variable.dtype == "float64" else np.float32))
        _count_from(optimizer, counts[0])

    def reset(self) -> None:
        attach_state(self._model)
        optimizer = self._optimizer()
        for place in self._places:
            for slot in place.slots:
                variable = _list(optimizer, slot.attribute)[place.number]
                first = getattr(optimizer, slot.first) if slot.first else 0.0
                variable.assign(np.full(tuple(variable.shape), first, np.float32))
        _count_from(optimizer, 0)

    def _optimizer(self) -> Any:
        """The optimizer, without the wrapper for loss scaling."""
        optimizer = getattr(self._model, "optimizer", None)
        return getattr(optimizer, "inner_optimizer", optimizer)

    def _slots(self) -> tuple[_Slot, ...]:
        """What the optimizer keeps.

        Raises:
            ConfigurationError: there is no optimizer, or one whose state is not known; or a reset would also restart a
                schedule of the learning rate.
        """
        optimizer = self._optimizer()
        if optimizer is None:
            raise ConfigurationError(
                f"optimizer_state={self._setting!r} needs the optimizer, and model {self._model.name!r} has none:"
                ' compile the model, or set optimizer_state="keep" at every peer'
            )
        kind = type(optimizer)
        kept = next((_SLOTS[base] for base in kind.__mro__ if base in _SLOTS), None)
        if kept is None:
            raise self.unknown(kind.__name__, [each.__name__ for each in _SLOTS])
        schedule = getattr(optimizer, "_learning_rate", None)
        if self._setting == "reset" and isinstance(schedule, optimizers.schedules.LearningRateSchedule):
            raise ConfigurationError(
                f'optimizer_state="reset" sets back the step counter of {kind.__name__}, which its learning rate, a'
                f" {type(schedule).__name__}, follows: the schedule would start anew at each merge. Set the learning"
                ' rate with a callback (keras.callbacks.LearningRateScheduler), or set optimizer_state="keep" or'
                ' "merge" at every peer'
            )
        return kept

    def _require_whole(self, optimizer: Any, place: _Place) -> None:
        for slot in place.slots:
            variable = _list(optimizer, slot.attribute)[place.number]
            if variable is None or _real(values_of(variable)).shape != place.spec.shape:
                raise self.unknown(
                    type(optimizer).__name__,
                    [each.__name__ for each in _SLOTS],
                    f"whose {slot.role} of {place.spec.name!r} is not shaped like it",
                )


def _list(optimizer: Any, attribute: str) -> Sequence[Any]:
    """The variables of a slot, one for each weight that is trained; empty where it is not kept."""
    return getattr(optimizer, attribute, None) or ()


def _count(optimizer: Any) -> int:
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def _count_from(optimizer: Any, count: int) -> None:
    """Set the number of optimizer steps. With accumulated gradients the variable counts batches."""
    if isinstance(optimizer, optimizers.Nadam) and (count != _count(optimizer) or not count):
        product = nadam_product(optimizer.beta_1, 1.0, count)
        optimizer._u_product.assign(product)  # noqa: SLF001
    batches = count * (optimizer.gradient_accumulation_steps or 1)
    most = np.iinfo(np.dtype(optimizer._iterations.dtype)).max // 2  # noqa: SLF001  (it goes on counting)
    optimizer._iterations.assign(min(batches, int(most)))  # noqa: SLF001  (the public iterations follow from it)


def _centre(optimizer: Any, slot: _Slot, place: _Place) -> NDArray[np.generic] | None:
    means = _list(optimizer, slot.centre) if slot.centre else ()
    return _real(values_of(means[place.number])) if means else None


def _root(squares: NDArray[np.generic], centre: NDArray[np.generic] | None) -> NDArray[np.generic]:
    wide = squares.astype(np.float64)
    if centre is not None:
        wide = np.maximum(wide - np.square(centre.astype(np.float64)), 0)
    return np.sqrt(wide)


def _square(root: NDArray[np.generic], centre: NDArray[np.generic] | None, variable: Any) -> NDArray[np.generic]:
    square = np.square(root.astype(np.float64))
    if centre is not None:
        square += np.square(centre.astype(np.float64))
    wide = np.float64 if variable.dtype == "float64" else np.float32
    largest = 65504.0 if variable.dtype == "float16" else float(np.finfo(wide).max) * (1 - 2**-8)  # also in bfloat16
    return np.minimum(square, largest).astype(wide)


def _real(values: NDArray[np.generic]) -> NDArray[np.generic]:
    if values.dtype.kind != "c":
        return values
    return values[..., np.newaxis].copy().view(values.real.dtype)


def _assign(variable: Any, values: NDArray[np.generic]) -> None:
    if variable.dtype.startswith("complex"):
        values = np.ascontiguousarray(values).view(np.result_type(values.dtype, np.complex64))[..., 0]
    variable.assign(values)

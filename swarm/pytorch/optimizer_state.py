"""The state of torch's optimizers: which of it belongs to which parameter, and how it is read, set and reset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import optim

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import memory, shared_tensor
from swarm.tensors.optimizer import MOST_STEPS, OptimizerState, moment, nadam_product, steps, with_optimizer
from swarm.tensors.state import Schema, TensorKind, TensorSpec

if TYPE_CHECKING:
    from swarm.pytorch.port import TorchPort
    from swarm.tensors.model import ModelPort
    from swarm.tensors.optimizer import StateArrays

Group = Mapping[str, Any]
_MOMENT, _ROOT = TensorKind.MOMENT, TensorKind.ROOT_MOMENT


class _Slot(NamedTuple):
    """A tensor that an optimizer keeps for each parameter."""

    key: str
    kind: TensorKind
    used: Callable[[Group], bool] = lambda _group: True
    """Whether it is kept for the parameters of a group."""
    centre: str = ""
    """Another tensor of the state, before this one: if it is kept, its square is subtracted from this mean of squares.
    Otherwise rounding could make the difference of the two, by whose root the optimizer divides, negative or 0."""


def _has_momentum(group: Group) -> bool:
    return bool(group["momentum"])


_MEAN, _SQUARE = _Slot("exp_avg", _MOMENT), _Slot("exp_avg_sq", _ROOT)
_SLOTS: Mapping[type[optim.Optimizer], tuple[_Slot, ...]] = {
    optim.Adam: (_MEAN, _SQUARE, _Slot("max_exp_avg_sq", _ROOT, lambda group: bool(group["amsgrad"]))),
    optim.AdamW: (_MEAN, _SQUARE, _Slot("max_exp_avg_sq", _ROOT, lambda group: bool(group["amsgrad"]))),
    optim.NAdam: (_MEAN, _SQUARE),
    optim.RAdam: (_MEAN, _SQUARE),
    optim.Adamax: (_MEAN, _Slot("exp_inf", _MOMENT)),
    optim.SGD: (_Slot("momentum_buffer", _MOMENT, _has_momentum),),
    optim.RMSprop: (
        _Slot("grad_avg", _MOMENT, lambda group: bool(group["centered"])),
        _Slot("square_avg", _ROOT, centre="grad_avg"),
        _Slot("momentum_buffer", _MOMENT, _has_momentum),
    ),
    optim.Adagrad: (_Slot("sum", _ROOT),),
    optim.Adadelta: (_Slot("square_avg", _ROOT), _Slot("acc_delta", _ROOT)),
}
"""What each class keeps; its subclasses keep the same. ``_ROOT`` is a mean or sum of squares."""


def with_optimizers(
    port: TorchPort, setting: Literal["keep", "reset", "merge"], optimizers: Sequence[optim.Optimizer]
) -> ModelPort:
    """The port of a model that ``optimizers`` train, with ``setting`` for their state."""
    return with_optimizer(port, TorchOptimizerState(setting, optimizers, port.parameters), setting)


class _Place(NamedTuple):
    """A parameter in its optimizer."""

    parameter: torch.Tensor
    group: Group
    state: dict[str, Any]
    """Empty before the first step."""


class _Owned(NamedTuple):
    """The weights of one optimizer that take part, as they were when training began."""

    optimizer: optim.Optimizer
    name: str
    weights: tuple[TensorSpec, ...]
    slots: tuple[tuple[_Slot, ...], ...]
    """Of each weight."""


class TorchOptimizerState(OptimizerState):
    """The state of the optimizers of one model.

    A parameter that has no state, as one without a gradient, counts as if its state were zeros. Learning rates, their
    schedules and the scale of a ``GradScaler`` are not touched.
    """

    def __init__(
        self,
        setting: str,
        optimizers: Sequence[optim.Optimizer],
        parameters: Callable[[], Mapping[str, torch.Tensor]],
    ) -> None:
        """Nothing is read before training begins.

        Args:
            setting: ``optimizer_state``, for messages.
            optimizers: those of the model.
            parameters: gives the parameters of the model that take part, by name.
        """
        super().__init__(setting)
        self._optimizers = optimizers
        self._parameters = parameters
        self._owned: tuple[_Owned, ...] = ()

    def tensors(self, model: Schema) -> tuple[TensorSpec, ...]:
        weights, parameters = [spec for spec in model.tensors if spec.kind is TensorKind.WEIGHT], self._parameters()
        self._owned = tuple(
            self._own(number, each, weights, parameters) for number, each in enumerate(self._optimizers, 1)
        )
        if not any(each.weights for each in self._owned):
            raise ConfigurationError(
                f"optimizer_state={self._setting!r} needs the optimizer of the model: the one given trains no parameter"
                " that is merged"
            )
        moments = [
            moment(f"{each.name}.{slot.key}", spec, slot.kind)
            for each in self._owned
            for spec, slots in zip(each.weights, each.slots, strict=True)
            for slot in slots
        ]
        counters = [steps(each.name, (len(each.weights),)) for each in self._owned if any(each.slots)]
        return (*moments, *counters)

    @torch.no_grad()
    def read(self, into: StateArrays) -> None:
        moments = iter([shared_tensor(array) for spec, array in into if spec.kind.is_moment])
        counters = iter([array for spec, array in into if spec.kind is TensorKind.STEPS])
        for owned, places in self._places():
            for place, slots in zip(places, owned.slots, strict=True):
                for slot in slots:
                    target, value = next(moments), _value(place, slot)
                    if place is None or value is None:
                        target.zero_()
                    else:
                        target.copy_(_root(place, slot, value) if slot.kind is _ROOT else value)
            if any(owned.slots):
                next(counters)[...] = _counts(owned, places)

    @torch.no_grad()
    def write(self, state: StateArrays, *, keep: bool = False) -> None:
        moments = iter([shared_tensor(array) for spec, array in state if spec.kind.is_moment])
        counters = iter([array for spec, array in state if spec.kind is TensorKind.STEPS])
        for owned, places in self._places():
            counts = next(counters).tolist() if any(owned.slots) else [0] * len(places)
            for spec, place, slots, count in zip(owned.weights, places, owned.slots, counts, strict=True):
                values = [next(moments) for _ in slots]
                if place is None or not slots or count <= 0 or (keep and spec.kept):
                    continue
                own = place._replace(state=owned.optimizer.state[place.parameter])
                for slot, value in zip(slots, values, strict=True):
                    _set(own, slot, value)
                if not isinstance(owned.optimizer, optim.SGD):
                    _set_step(own, min(count, MOST_STEPS), nadam=isinstance(owned.optimizer, optim.NAdam))

    @torch.no_grad()
    def reset(self) -> None:
        for owned, places in self._places():
            for place, slots in zip(places, owned.slots, strict=True):
                if place is not None and place.state:
                    _begin_anew(place, slots, owned.optimizer)

    def _own(
        self,
        number: int,
        optimizer: optim.Optimizer,
        weights: Sequence[TensorSpec],
        parameters: Mapping[str, torch.Tensor],
    ) -> _Owned:
        """The weights that an optimizer trains, and what it keeps of them."""
        kind, known = type(optimizer).__name__, [each.__name__ for each in _SLOTS]
        kept = next((_SLOTS[base] for base in type(optimizer).__mro__ if base in _SLOTS), None)
        if kept is None:
            raise self.unknown(kind, known)
        places = _find(optimizer, weights, parameters)
        found = [(spec, place) for spec, place in zip(weights, places, strict=True) if place]
        slots = [tuple(slot for slot in kept if slot.used(place.group)) for _, place in found]
        for (spec, place), its_slots in zip(found, slots, strict=True):
            for slot in its_slots:
                if isinstance(place.state.get(slot.key), torch.Tensor) and _value(place, slot) is None:
                    raise self.unknown(kind, known, f"whose {slot.key} of {spec.name!r} is not shaped like it")
        name = "optimizer" if number == 1 else f"optimizer{number}"
        return _Owned(optimizer, name, tuple(spec for spec, _ in found), tuple(slots))

    def _places(self) -> Iterator[tuple[_Owned, list[_Place | None]]]:
        """Each optimizer, and where the weights that it trained at the start are in it now."""
        parameters = self._parameters()
        for owned in self._owned:
            yield owned, _find(owned.optimizer, owned.weights, parameters)


def _find(
    optimizer: optim.Optimizer, weights: Sequence[TensorSpec], parameters: Mapping[str, torch.Tensor]
) -> list[_Place | None]:
    """Where each weight is in an optimizer; None where it is not."""
    places: dict[object, _Place] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            values = torch.view_as_real(parameter.data) if parameter.is_complex() else parameter
            places[memory(values)] = _Place(parameter, group, optimizer.state.get(parameter, {}))
    return [places.get(memory(parameters[spec.name])) for spec in weights]


def _value(place: _Place | None, slot: _Slot) -> torch.Tensor | None:
    """A tensor of the state, as real numbers; None where there is none that is shaped like its parameter."""
    value = place.state.get(slot.key) if place else None
    if place is None or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return None
    if value.shape != place.parameter.shape:
        return None
    return torch.view_as_real(value) if value.is_complex() else value


def _wide(values: torch.Tensor) -> torch.Tensor:
    """The values in the dtype in which squares and roots are computed."""
    return values if values.dtype is torch.float64 else values.float()


def _root(place: _Place, slot: _Slot, squares: torch.Tensor) -> torch.Tensor:
    centre = _value(place, _Slot(slot.centre, _MOMENT))
    squares = _wide(squares)
    return (squares if centre is None else (squares - _wide(centre).square()).clamp_(min=0)).sqrt()


def _counts(owned: _Owned, places: Sequence[_Place | None]) -> list[int]:
    """The step counter of each parameter; 0 where its state is not complete. Momentum SGD counts no steps."""
    counts: list[Any] = [0] * len(places)
    on_device: dict[int, torch.Tensor] = {}
    for number, (place, slots) in enumerate(zip(places, owned.slots, strict=True)):
        if place is None or not slots or any(_value(place, slot) is None for slot in slots):
            continue
        step = 1 if isinstance(owned.optimizer, optim.SGD) else place.state.get("step", 0)
        if isinstance(step, torch.Tensor) and step.device.type != "cpu":
            on_device[number] = step.reshape(())
        else:
            counts[number] = int(step)
    if on_device:  # one copy instead of one for each parameter
        copied = torch.stack([step.double() for step in on_device.values()]).tolist()
        counts = [copied.pop(0) if number in on_device else count for number, count in enumerate(counts)]
    return [int(count) for count in counts]


def _set(place: _Place, slot: _Slot, value: torch.Tensor) -> None:
    if not isinstance(place.state.get(slot.key), torch.Tensor):
        place.state[slot.key] = torch.zeros_like(place.parameter, memory_format=torch.preserve_format)
    target = _value(place, slot)
    if target is None:
        return
    if slot.kind is _ROOT:
        centre = _value(place, _Slot(slot.centre, _MOMENT))
        value = _wide(value.to(target.device, torch.promote_types(target.dtype, torch.float32))).square()
        value = value if centre is None else value + _wide(centre).square()
        value.clamp_(max=torch.finfo(target.dtype).max)
    target.copy_(value)


def _set_step(place: _Place, count: int, *, nadam: bool) -> None:
    group, state = place.group, place.state
    fused = bool(group.get("fused"))
    on_device = place.parameter.device if fused or group.get("capturable") else torch.device("cpu")
    scalar = torch.float32 if fused else torch.float64 if torch.get_default_dtype() is torch.float64 else torch.float32

    def put(key: str, value: float) -> None:
        if isinstance(state.get(key), torch.Tensor):
            state[key].fill_(value)
        else:
            state[key] = torch.tensor(value, dtype=scalar, device=on_device)

    if nadam and ("mu_product" not in state or int(state.get("step", 0)) != count):
        put("mu_product", nadam_product(group["betas"][0], group["momentum_decay"], count))
    put("step", float(count))


def _begin_anew(place: _Place, slots: Sequence[_Slot], optimizer: optim.Optimizer) -> None:
    state = place.state
    for slot in slots:
        value = _value(place, slot)
        if value is None:
            continue
        if isinstance(optimizer, optim.SGD):
            state[slot.key] = None  # the first gradient then counts whole, whatever the dampening
        else:
            value.fill_(optimizer.defaults.get("initial_accumulator_value", 0.0))
    for key, first in (("step", 0.0), ("mu_product", 1.0)):
        if isinstance(state.get(key), torch.Tensor):
            state[key].fill_(first)
        elif key in state:
            state[key] = first

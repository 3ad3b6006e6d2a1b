"""The state of a PyTorch training besides its weights: optimizers, schedules, and what else the script gives."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch.arrays import array_of, shared_tensor
from swarm.pytorch.flattened import acts_together
from swarm.pytorch.shards import is_sharded, placed, shard_of, sharding
from swarm.tensors.training import TrainingState, Tree

if TYPE_CHECKING:
    from torch.optim import Optimizer

_TENSOR = "torch.Tensor"
"""The only key of the dict that stands for a tensor in a tree."""
_SHARD, _SHARDING = "torch.DTensor", "sharding"
"""The keys of the dict that stands for this process's shard of a tensor, and for where it belongs."""
_STATE, _GROUPS = "state", "param_groups"
"""The keys of what ``Optimizer.state_dict`` returns. Of what all processes have alike, the first one is a bool."""
_PARTS = (
    "resume: the state of %s begins anew%s, because each process of this site has only a part of it: "
    "exchange_shards=True keeps the parts of a model under fully_shard (docs/ranks.md)"
)


@runtime_checkable
class Stateful(Protocol):
    """What has a state: schedulers, a ``GradScaler``, samplers."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Set the state."""
        ...


def stateful_objects(given: object) -> tuple[Stateful, ...]:
    """The objects that the argument ``stateful`` names: one, several or none.

    Raises:
        ConfigurationError: one of them has no state.
    """
    objects = () if given is None else tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for each in objects:
        if not isinstance(each, Stateful):
            raise ConfigurationError(
                f"stateful holds a {type(each).__name__}, allowed: objects with state_dict() and load_state_dict(), "
                "such as a scheduler"
            )
    return objects


class TorchTrainingState(TrainingState):
    """The ``state_dict()`` of optimizers and of other objects, with arrays in the place of tensors.

    Args:
        optimizers: those of the model.
        stateful: further objects of the script.
        logger: is told of a schedule that is not among them, and of what begins anew in a resumed run.
        alike: whether only what all processes of the site have alike is read and set: of optimizers the groups, as the
            learning rate, and of the other objects those without a shard of a tensor.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        stateful: Sequence[Stateful],
        logger: logging.Logger,
        *,
        alike: bool = False,
    ) -> None:
        self._optimizers = optimizers
        self._stateful = stateful
        self._log = logger
        self._alike = alike

    def common(self) -> TorchTrainingState:
        return TorchTrainingState(self._optimizers, self._stateful, self._log, alike=True)

    def read(self) -> Tree:
        of_optimizer, of_other = (_groups, _unless_sharded) if self._alike else (_state, _state)
        return {
            "optimizers": [[_kind(each), of_optimizer(each)] for each in self._optimizers],
            "stateful": [[_kind(each), of_other(each)] for each in self._stateful],
        }

    def write(self, state: Tree) -> None:
        try:
            optimizers, stateful = state["optimizers"], state["stateful"]
        except (KeyError, TypeError) as error:
            raise ModelError(f"it is not that of a PyTorch training ({error!r})") from error
        _require_same("optimizer", optimizers, self._optimizers)
        _require_same("stateful", stateful, self._stateful)
        for optimizer, (kind, found) in zip(self._optimizers, optimizers, strict=True):
            if self._alike or isinstance(found[_STATE], bool):
                self._set_groups(optimizer, found)
                if found[_STATE]:
                    self._log.warning(_PARTS, kind, ", and its learning rate goes on")
            else:
                _load(optimizer, self._scheduled(optimizer, self._state_dict(found)))
        for each, (kind, found) in zip(self._stateful, stateful, strict=True):
            if found is None or (self._alike and _has_shards(found)):
                self._log.warning(_PARTS, kind, "")
            else:
                _load(each, self._state_dict(found))

    def _state_dict(self, tree: Tree) -> Any:
        if isinstance(tree, Mapping) and tree.keys() == {_TENSOR}:
            return shared_tensor(tree[_TENSOR])
        if isinstance(tree, Mapping) and tree.keys() == {_SHARD, _SHARDING}:
            weights = (weight for each in self._optimizers for group in each.param_groups for weight in group["params"])
            try:
                like = next(weight for weight in weights if is_sharded(weight))
                return placed(shared_tensor(tree[_SHARD]), tree[_SHARDING], like)
            except (StopIteration, TypeError, ValueError, RuntimeError) as error:
                raise ModelError(f"it has shards of tensors, which do not fit the model here ({error!r})") from error
        return _mapped(tree, self._state_dict)

    def _set_groups(self, optimizer: Optimizer, found: Any) -> None:
        """Set what an optimizer has for each group of its parameters, as the learning rate."""
        groups = self._scheduled(optimizer, {_GROUPS: self._state_dict(found[_GROUPS])})[_GROUPS]
        if len(groups) != len(optimizer.param_groups):
            have = len(optimizer.param_groups)
            raise ModelError(f"{_kind(optimizer)} had {len(groups)} groups of parameters, and has {have} now")
        for group, values in zip(optimizer.param_groups, groups, strict=True):
            for key, value in values.items():
                if isinstance(group.get(key), torch.Tensor):
                    group[key].copy_(value)  # a compiled step has this tensor
                elif key != "params":
                    group[key] = value

    def _scheduled(self, optimizer: Optimizer, found: Any) -> Any:
        """The state to load; without its learning rates if they follow a schedule that begins anew."""
        if self._stateful or not any("initial_lr" in group for group in optimizer.param_groups):
            return found
        self._log.warning(
            "resume: the schedule of the learning rate begins anew, because it is not given: SwarmCallback(..., "
            "stateful=scheduler)"
        )
        return {**found, _GROUPS: optimizer.state_dict()[_GROUPS]}


def _kind(of: object) -> str:
    return type(of).__name__


def _require_same(argument: str, found: Sequence[Any], here: Sequence[object]) -> None:
    """Check that the state is that of the same kinds of objects.

    Raises:
        ModelError: it is not.
    """
    before, now = ([", ".join(kinds) or "nothing"] for kinds in ([kind for kind, _ in found], map(_kind, here)))
    if before != now:
        raise ModelError(f"`{argument}` was {before[0]} when the checkpoint was written, and is {now[0]} now")


def _load(target: Stateful, state: Any) -> None:
    try:
        target.load_state_dict(state)
    except Exception as error:
        raise ModelError(f"{_kind(target)} does not take it: {error}") from error


def _state(of: Stateful) -> Tree:
    return _tree(of.state_dict())


def _groups(optimizer: Optimizer) -> Tree:
    """What an optimizer has for each group of its parameters, and whether it has more for each parameter."""
    groups = [{key: each for key, each in group.items() if key != "params"} for group in optimizer.param_groups]
    return {_STATE: any(optimizer.state.values()), _GROUPS: _tree(groups)}


def _unless_sharded(of: Stateful) -> Tree:
    """The state of an object; None if it has shards of tensors, or is read by all processes together."""
    if isinstance(of, torch.nn.Module) and acts_together(of):
        return None
    state = of.state_dict()
    return None if _has_shards(state) else _tree(state)


def _has_shards(value: Any) -> bool:
    """Whether a state has a shard of a tensor, as it is or in a tree."""
    if isinstance(value, Mapping):
        return value.keys() == {_SHARD, _SHARDING} or any(map(_has_shards, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_shards, value))
    return isinstance(value, torch.Tensor) and is_sharded(value)


def _tree(value: Any) -> Tree:
    """A copy with arrays in the place of tensors; what no tree can hold stays as it is."""
    if isinstance(value, torch.Tensor) and is_sharded(value) and (where := sharding(value)):
        return {_SHARD: _tree(shard_of(value))[_TENSOR], _SHARDING: where}
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        return {_TENSOR: array_of(value.detach().to("cpu", copy=True).contiguous())}
    if isinstance(value, np.ndarray):
        return value.copy()
    return _mapped(value, _tree)


def _mapped(value: Any, of: Callable[[Any], Any]) -> Any:
    if isinstance(value, Counter):
        return Counter(value)
    if isinstance(value, Mapping):
        return {key: of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [of(item) for item in value] if isinstance(value, list) else tuple(of(item) for item in value)
    return value

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
from swarm.pytorch.shards import is_sharded, placed, shard_of, sharding
from swarm.tensors.training import TrainingState, Tree

if TYPE_CHECKING:
    from torch.optim import Optimizer

_TENSOR = "torch.Tensor"
"""The only key of the dict that stands for a tensor in a tree."""
_SHARD, _SHARDING = "torch.DTensor", "sharding"
"""The keys of the dict that stands for this process's shard of a tensor, and for where it belongs."""


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
        logger: is told of a schedule that is not among them.
    """

    def __init__(self, optimizers: Sequence[Optimizer], stateful: Sequence[Stateful], logger: logging.Logger) -> None:
        self._optimizers = optimizers
        self._stateful = stateful
        self._log = logger

    def read(self) -> Tree:
        return {
            "optimizers": [[_kind(each), _tree(each.state_dict())] for each in self._optimizers],
            "stateful": [[_kind(each), _tree(each.state_dict())] for each in self._stateful],
        }

    def write(self, state: Tree) -> None:
        try:
            optimizers, stateful = state["optimizers"], state["stateful"]
        except (KeyError, TypeError) as error:
            raise ModelError(f"it is not that of a PyTorch training ({error!r})") from error
        _require_same("optimizer", optimizers, self._optimizers)
        _require_same("stateful", stateful, self._stateful)
        for optimizer, (_, found) in zip(self._optimizers, optimizers, strict=True):
            _load(optimizer, self._scheduled(optimizer, self._state_dict(found)))
        for each, (_, found) in zip(self._stateful, stateful, strict=True):
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

    def _scheduled(self, optimizer: Optimizer, found: Any) -> Any:
        """The state to load; without its learning rates if they follow a schedule that begins anew."""
        if self._stateful or not any("initial_lr" in group for group in optimizer.param_groups):
            return found
        self._log.warning(
            "resume: the schedule of the learning rate begins anew, because it is not given: SwarmCallback(..., "
            "stateful=scheduler)"
        )
        return {**found, "param_groups": optimizer.state_dict()["param_groups"]}


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

"""Names of the tensors of a torch model: the keys of the ``state_dict`` of the user's model.

Wrappers add a module around the user's model, and a prefix to its keys. They are recognized by their type, because an
attribute called ``module`` can also belong to the user's model, as in ``AveragedModel``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn.parallel import DataParallel, DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import nn


_IN_FABRIC = "_forward_module"
"""The attribute of the wrapper that ``Fabric.setup`` puts around a module."""
IN_FSDP1 = "_fsdp_wrapped_module"
"""That of ``FullyShardedDataParallel``."""
_ATTRIBUTES = {
    ("OptimizedModule", "torch"): "_orig_mod",
    ("FullyShardedDataParallel", "torch"): IN_FSDP1,
    ("ActivationWrapper", "torch"): "_checkpoint_wrapped_module",
    ("DeepSpeedEngine", "deepspeed"): "module",
    ("_FabricModule", "lightning"): _IN_FABRIC,
    ("_FabricModule", "lightning_fabric"): _IN_FABRIC,
}
"""The attribute of each wrapper, by the name of its class and its package: these modules take long to import, and are
imported before any model is wrapped."""


class Place(NamedTuple):
    """A module in its model."""

    path: str
    """Its path, as in ``named_modules``."""
    name: str
    """The path without the prefixes of wrappers."""
    module: nn.Module


def join(prefix: str, leaf: str) -> str:
    """The dotted path of ``leaf`` below ``prefix``, which is empty at the top."""
    return f"{prefix}.{leaf}" if prefix else leaf


def places(model: nn.Module, path: str = "", name: str = "") -> Iterator[Place]:
    """Every module, once for each place where it occurs, in the order of ``state_dict``."""
    yield Place(path, name, model)
    wrapped = _wrapped(model)
    for leaf, module in model._modules.items():  # noqa: SLF001  (named_children leaves out repeated modules)
        # Fabric's wrapper has the user's module once more, below no other wrapper.
        again = wrapped == _IN_FABRIC and leaf != wrapped
        if module is not None and not again:
            yield from places(module, join(path, leaf), name if leaf == wrapped else join(name, leaf))


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, ``DistributedDataParallel``, ``DeepSpeedEngine`` and ``Fabric.setup``.

    ``DataParallel`` and ``FullyShardedDataParallel`` stay: a pass goes through them.
    """
    while (leaf := _wrapped(model)) is not None and leaf != IN_FSDP1 and not isinstance(model, DataParallel):
        model = model.get_submodule(leaf)
    return model


def _wrapped(module: nn.Module) -> str | None:
    """The attribute of a wrapper that contains the user's module; None if ``module`` is not a wrapper."""
    if isinstance(module, DataParallel | DistributedDataParallel):
        return "module"
    found = ((base.__name__, base.__module__.partition(".")[0]) for base in type(module).__mro__)
    return next((_ATTRIBUTES[each] for each in found if each in _ATTRIBUTES), None)


def changed_keys(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], memory: Callable[[torch.Tensor], object]
) -> dict[str, str]:
    """Keys of ``state_dict`` that are not the tensor's path, for models that change them by a hook or an override.

    Args:
        model: the model.
        tensors: its tensors by their paths, wrappers included.
        memory: equal for tensors that are in the same memory.

    Returns:
        The keys without the prefixes of wrappers, by path.
    """
    try:
        state = dict(model.state_dict())
    except Exception:  # noqa: BLE001  (whatever an override raises: the paths are names as well)
        return {}
    if state.keys() == tensors.keys():
        return {}
    wrappers = [(place.path, place.name) for place in places(model) if place.path != place.name]
    unclaimed: dict[object, list[str]] = {}
    for key, value in state.items():
        if key not in tensors:
            unclaimed.setdefault(memory(value), []).append(_without_wrappers(key, wrappers))
    found = {}
    for path, tensor in tensors.items():
        keys = unclaimed.get(memory(tensor))
        if path not in state and keys:
            found[path] = keys.pop(0)
    return found


def _without_wrappers(key: str, wrappers: list[tuple[str, str]]) -> str:
    inside = [(path, name) for path, name in wrappers if key.startswith(f"{path}.")]
    if not inside:
        return key
    path, name = max(inside, key=lambda wrapper: len(wrapper[0]))
    return join(name, key.removeprefix(f"{path}."))

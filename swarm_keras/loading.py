"""Loads a file of a run into a Keras model."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ModelError
from swarm.storage import load_into
from swarm_keras.port import KerasPort, layers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from swarm.tensors import Array


def load_weights(model: Any, path: str | Path) -> None:
    """Set the variables of ``model`` from a file of a model directory, such as ``swarm-final.safetensors``.

    Variables that are not in the file are not changed: local ones, and those of a ``Normalization`` layer. Layers
    without a name, which Keras numbers per process, are matched by their order if the file has all layers of the type.

    Args:
        model: a built model.
        path: the file.

    Raises:
        ModelError: the model is not built, the file cannot be read, or it is of another model; the message names the
            first difference.
    """
    load_into(KerasPort(model), Path(path), partial(_renamed, model))


def _renamed(model: Any, tensors: dict[str, Array], names: list[str]) -> dict[str, Array]:
    """The tensors under ``names``, which differ only in the numbers that Keras assigns to layers."""
    automatic = _automatic(model)
    theirs, ours = _numbers(tensors, automatic), _numbers(names, automatic)
    some = [name for name in theirs if len(theirs[name]) != len(ours.get(name, ()))]
    if not some:
        places = {_place(name, ours): name for name in names}
        if all(_place(name, theirs) in places for name in tensors):
            return {places[_place(name, theirs)]: tensor for name, tensor in tensors.items()}
    if lacking := tensors.keys() - set(names):
        raise ModelError(
            f"{min(lacking)!r} is no variable of the model {model.name!r}: "
            "build the model that was trained, and give names to its layers"
        )
    warnings.warn(
        f"the file has only some of the layers that Keras calls {some[0]}, {some[0]}_1 and so on: they are loaded by "
        "these names, which are right only if the model was built like the trained one; give names to its layers",
        stacklevel=4,
    )
    return tensors


def _automatic(model: Any) -> set[str]:
    """The automatic names, without numbers, that Keras derives from the types of layers."""
    layers = {_parted(layer.name)[0]: type(layer).__name__ for layer in layers_of(model)}
    return {name for name, kind in layers.items() if name.replace("_", "") == kind.replace("_", "").lower()}


def _numbers(paths: Iterable[str], automatic: Collection[str]) -> dict[str, list[int]]:
    """The numbers of each automatic name in ``paths``, in order."""
    numbers: dict[str, set[int]] = {name: set() for name in automatic}
    for path in paths:
        for part in path.split("/"):
            name, number = _parted(part)
            if name in numbers:
                numbers[name].add(number)
    return {name: sorted(found) for name, found in numbers.items() if found}


def _place(path: str, numbers: Mapping[str, list[int]]) -> tuple[tuple[str, int], ...]:
    """A path with the rank of each automatic number instead of the number."""
    parts = ((part, *_parted(part)) for part in path.split("/"))
    return tuple((name, numbers[name].index(number)) if name in numbers else (part, 0) for part, name, number in parts)


def _parted(part: str) -> tuple[str, int]:
    """A part of a path without its number, and the number."""
    name, _, number = part.rpartition("_")
    return (name, int(number)) if name and number.isdecimal() else (part, 0)

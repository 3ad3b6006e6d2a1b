"""Loads what a run wrote into a Keras model."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ModelError
from swarm.session.files import UnreadableFileError, load_tensors
from swarm_keras.port import KerasPort, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swarm.state import Array

_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?")


def load_weights(model: Any, path: str | Path) -> None:
    """Set the variables of ``model`` from a file of a model directory, such as ``swarm-final.safetensors``.

    Variables that are not in the file stay as they are: local ones, and those of a ``Normalization`` layer. Layers
    without a name, which Keras numbers per process, are matched by their order where the file is of a whole model.

    Args:
        model: a built model.
        path: the file.

    Raises:
        ModelError: the model is not built, the file cannot be read, or it is of another model; the message names the
            first difference.
    """
    try:
        tensors = load_tensors(Path(path))
    except UnreadableFileError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    names = {spec.name for spec in KerasPort(model).schema().tensors}
    variables = {variable.path: variable for variable in model.weights if variable.path in names}
    if not tensors.keys() <= names:
        tensors = _renamed(tensors, variables, path)
    found = [(variable, tensors[name]) for name, variable in variables.items() if name in tensors]
    values = [(variable, _fitting(variable, tensor, path)) for variable, tensor in found]
    for variable, array in values:
        variable.assign(array)


def _renamed(tensors: dict[str, Array], variables: dict[str, Any], path: str | Path) -> dict[str, Array]:
    """The tensors under the names of the variables, where only the numbers of layers differ."""
    theirs, ours = _in_order(tensors), _in_order(variables)
    if theirs.keys() != ours.keys():
        name = min(tensors.keys() - variables.keys())
        raise ModelError(
            f"{name!r} in {path} is no variable of the model {min(variables).partition('/')[0]!r}: "
            "build the model that was trained, and give names to its layers"
        )
    return {ours[key]: tensors[name] for key, name in theirs.items()}


def _in_order(paths: Iterable[str]) -> dict[tuple[tuple[str, int], ...], str]:
    """Paths by their parts, of which each has its rank among those that differ in the number only."""
    paths = list(paths)
    numbers: dict[str, set[int]] = defaultdict(set)
    for path in paths:
        for name, number in _parts(path):
            numbers[name].add(number)
    ranks = {name: sorted(each) for name, each in numbers.items()}
    return {tuple((name, ranks[name].index(number)) for name, number in _parts(path)): path for path in paths}


def _parts(path: str) -> list[tuple[str, int]]:
    """The parts of a path, each without its number, and the number."""
    matches = (_NUMBERED.fullmatch(part) for part in path.split("/"))
    return [(match[1], int(match[2] or 0)) for match in matches if match]


def _fitting(variable: Any, tensor: Array, path: str | Path) -> Array:
    """The values of a tensor as the variable takes them."""
    here = values_of(variable)
    if here.dtype.kind == "c" and tensor.shape == (*here.shape, 2):
        tensor = tensor.view(here.dtype)[..., 0]
    if (tensor.shape, tensor.dtype) != (here.shape, here.dtype):
        there, given = (f"{array.dtype.name}{list(array.shape)}" for array in (tensor, here))
        raise ModelError(f"{variable.path!r} is {there} in {path}, and {given} in the model")
    return tensor

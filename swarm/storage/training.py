"""The state of a site's own training on disk, beside its checkpoints: one file, safetensors with JSON in the metadata.

The metadata ``progress`` tell how much was done, and ``state`` is a tree in JSON. Its arrays are the tensors of the
file. Nothing in it is executed when it is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.errors import ModelError, UnreadableFileError
from swarm.records import Resumed
from swarm.storage.files import load_tensors, read_about, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.tensors.state import Array
    from swarm.tensors.training import Tree

PROGRESS, STATE = "progress", "state"
_PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Training:
    """How much of its training a site has done, and the state of its optimizers and schedules then."""

    progress: Resumed
    state: Tree = field(default=None, repr=False)
    """None where the framework gives none."""


def write_training(path: Path, training: Training) -> None:
    """Write ``training``, replacing ``path`` in one step.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
        ModelError: the state holds something that cannot be written; the message names its place.
    """
    tensors: dict[str, Array] = {}
    state = packed(training.state, tensors, "")
    write_tensors(path, tensors, {PROGRESS: json.dumps(asdict(training.progress)), STATE: json.dumps(state)})


def read_training(path: Path) -> Training:
    """What ``write_training`` has written.

    Raises:
        UnreadableFileError: the file cannot be read, or is none of these.
    """
    try:
        state = unpacked(json.loads(read_about(path)[STATE]), load_tensors(path))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"it holds no state of a training ({error!r})") from error
    return Training(read_progress(path), state)


def read_progress(path: Path) -> Resumed:
    """The progress in such a file, without reading its tensors.

    Raises:
        UnreadableFileError: the file cannot be read, or is none of these.
    """
    try:
        found = json.loads(read_about(path)[PROGRESS])
        counts = [found[name] for name in ("round", "epochs", "batches", "epoch_batches")]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"it tells no progress of a training ({error!r})") from error
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        raise UnreadableFileError("its progress is no whole numbers")
    return Resumed(round=counts[0], epochs=counts[1], batches=counts[2], epoch_batches=counts[3])


def packed(value: Tree, tensors: dict[str, Array], place: str = "") -> Any:
    """A tree in JSON types; its arrays are added to ``tensors``.

    Raises:
        ModelError: it holds something that is no tree; the message names its place.
    """
    if isinstance(value, np.ndarray):
        name, pairs = str(len(tensors)), value.dtype.kind == "c"
        array = np.ascontiguousarray(value).reshape(value.shape)
        tensors[name] = array[..., np.newaxis].view(value.real.dtype) if pairs else array
        return {"array": name, "complex": pairs}
    if isinstance(value, np.generic):
        return packed(value.item(), tensors, place)
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        items = [packed(item, tensors, f"{place}[{number}]") for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        keys = [key for key in value if type(key) not in {str, int}]
        if not keys:
            items = [[key, packed(item, tensors, f"{place}[{key!r}]")] for key, item in value.items()]
            return {"counter" if isinstance(value, Counter) else "dict": items}
        value = keys[0]
    raise ModelError(f"{place or 'it'} is a {type(value).__qualname__}, which cannot be written to a file")


def unpacked(value: Any, tensors: Mapping[str, Array]) -> Tree:
    """The tree that ``packed`` was given.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    if isinstance(value, list):
        return [unpacked(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"array": str(name), "complex": bool(pairs)}:
            array = tensors[name].copy()
            if not pairs:
                return array
            return array.view(np.result_type(array.dtype, np.complex64)).reshape(array.shape[:-1])
        case {"tuple": list(items)}:
            return tuple(unpacked(item, tensors) for item in items)
        case {"dict": list(items)}:
            return {key: unpacked(item, tensors) for key, item in items}
        case {"counter": list(items)}:
            return Counter({key: unpacked(item, tensors) for key, item in items})
    raise ValueError(f"unknown entry {sorted(value)[:3]}")

"""``val_data`` in its documented forms, as arguments of ``model.evaluate``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from swarm.errors import ConfigurationError
from swarm.tensors import without_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FORMS = (
    "(x, y), (x, y, sample_weight), a generator, a tf.data.Dataset, a keras.utils.PyDataset,"
    " a torch Dataset or a torch DataLoader"
)
_ENDLESS = sys.maxsize


def evaluate_arguments(data: object, *, batch_size: int, steps: int) -> Mapping[str, Any]:
    """Keyword arguments with which ``model.evaluate`` can run over ``data`` repeatedly.

    Data of known length is used completely, arrays in batches of ``batch_size``; of other data at most ``steps``
    batches. A source with an unknown number of batches, such as a generator, is read here once and kept in memory.

    Raises:
        ConfigurationError: ``data`` has none of the documented forms, no samples, or arrays of different lengths.
    """
    if isinstance(data, (tuple, list)):
        if len(data) not in (2, 3):
            raise ConfigurationError(f"val_data is a {type(data).__name__} of {len(data)} elements, allowed: {FORMS}")
        x, y, *rest = data
        _require_equal_lengths(data)
        return {"x": x, "y": y, "sample_weight": rest[0] if rest else None, "batch_size": batch_size}
    if _derives_from(data, "torch.utils.data", "Dataset"):
        data = sys.modules["torch.utils.data"].DataLoader(data, batch_size=batch_size)
    length = _batches(data)
    if length is None:
        data = _read(data, steps)
        length = len(data)
    if not length:
        raise without_samples(data)
    return {"x": data, "steps": steps if length == _ENDLESS else length}


def inputs_of(arguments: Mapping[str, Any]) -> Iterator[Any]:
    """The inputs of the batches of ``model.evaluate(**arguments)``, without batches of fewer than two samples.

    Raises:
        Exception: any exception of the data.
    """
    return (inputs for inputs in _inputs(arguments) if (samples := _samples(inputs)) is None or samples > 1)


class _Batches(keras.utils.PyDataset):
    """Batches kept in memory."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]


def _inputs(arguments: Mapping[str, Any]) -> Iterator[Any]:
    """The inputs of each batch."""
    x, steps = arguments["x"], arguments.get("steps")
    if steps is None:  # arrays
        size = arguments["batch_size"]
        for start in range(0, _samples(x) or 0, size):
            rows = slice(start, start + size)
            yield keras.tree.map_structure(lambda leaf, rows=rows: None if leaf is None else leaf[rows], x)
        return
    indexed = isinstance(x, keras.utils.PyDataset)
    for batch in (x[index] for index in range(steps)) if indexed else itertools.islice(x, steps):
        yield keras.utils.unpack_x_y_sample_weight(batch)[0]


def _samples(inputs: Any) -> int | None:
    """Samples of a batch, or of all arrays; None if unknown."""
    lengths = (_length(leaf) for leaf in keras.tree.flatten(inputs))
    return next((length for length in lengths if length is not None), None)


def _batches(data: Any) -> int | None:
    """Batches of a source that can be read again, ``_ENDLESS`` if endless, None if unknown."""
    if isinstance(data, keras.utils.PyDataset):
        return _ENDLESS if data.num_batches is None else data.num_batches
    if _derives_from(data, "tensorflow", "DatasetV2"):
        if any(_length(spec) == 0 for spec in keras.tree.flatten(data.element_spec)):
            return 0
        cardinality = int(data.cardinality())
        return {-1: _ENDLESS, -2: None}.get(cardinality, cardinality)
    if _derives_from(data, "torch.utils.data", "DataLoader"):
        try:
            return len(data)
        except TypeError:
            return None
    return None


def _read(data: Any, steps: int) -> _Batches:
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict)) or hasattr(data, "shape"):
        raise ConfigurationError(f"val_data is a {type(data).__name__}, allowed: {FORMS}")
    batches = [
        keras.tree.map_structure(lambda leaf: None if leaf is None else np.asarray(leaf), batch)
        for batch in itertools.islice(data, steps)
    ]
    if not any(_length(leaf) for batch in batches for leaf in keras.tree.flatten(batch)):
        raise without_samples(data)
    return _Batches([tuple(batch) if isinstance(batch, list) else batch for batch in batches])


def _require_equal_lengths(parts: Sequence[Any]) -> None:
    """Raise an error for arrays without a sample, or of different lengths."""
    leaves = [leaf for part in parts for leaf in keras.tree.flatten(part) if leaf is not None]
    lengths = [length for leaf in leaves if (length := _length(leaf)) is not None]
    if len(set(lengths)) > 1:
        raise ConfigurationError(f"val_data holds arrays of different lengths: {', '.join(map(str, lengths))} samples")
    if not leaves or 0 in lengths:
        raise without_samples(parts)


def _length(leaf: Any) -> int | None:
    """Number of samples of an array; None without a batch dimension, or if its length is unknown."""
    shape = getattr(leaf, "shape", None)
    try:
        return None if shape is None or len(shape) == 0 or shape[0] is None else int(shape[0])
    except ValueError:  # a TensorFlow shape of unknown rank
        return None


def _derives_from(data: object, module: str, name: str) -> bool:
    return any(base.__name__ == name and base.__module__.startswith(module) for base in type(data).__mro__)

"""The number of samples in what a script trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

from swarm.errors import ConfigurationError


def samples_of(data: Any) -> int | None:
    """The number of samples in a loader, a data set or an array; None where it does not tell.

    A loader counts as its data set, whatever its sampler draws. Several of them, in a list, a tuple or a dict, count
    together. What counts batches, such as a ``tf.data.Dataset`` or a ``keras.utils.PyDataset``, does not tell.

    Args:
        data: an object with a ``dataset``, such as a torch ``DataLoader``; a torch ``Dataset`` with a length; an array
            or a tensor, whose first dimension counts; several of them.
    """
    dataset = getattr(data, "dataset", None)
    if dataset is not None:
        return _length(dataset)
    if isinstance(data, Mapping):
        return _sum(list(data.values()))
    if isinstance(data, list | tuple):
        return _sum(data)
    shape = getattr(data, "shape", None)
    if isinstance(shape, Sequence) and shape:
        return _integer(shape[0])
    kinds = {(base.__module__.partition(".")[0], base.__name__) for base in type(data).__mro__}
    return _length(data) if ("torch", "Dataset") in kinds else None


def given_samples(value: Any) -> int:
    """The argument ``samples`` of a callback as a number.

    Raises:
        ConfigurationError: it is neither a number nor something that tells the number of its samples.
    """
    number = None if isinstance(value, bool) else _integer(value)
    if number is None:
        number = samples_of(value)
    if number is None:
        raise ConfigurationError(
            f"samples is a {type(value).__name__}, which does not tell how many samples it has: allowed are a number, "
            "a DataLoader, a data set with a length, and an array; give samples=N"
        )
    return number


def _sum(several: Sequence[Any]) -> int | None:
    counts = [samples_of(each) for each in several]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _integer(value: Any) -> int | None:
    try:
        return index(value)
    except TypeError:
        return None

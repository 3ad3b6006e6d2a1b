"""Validation data in all supported forms, as batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from swarm.errors import ConfigurationError
from swarm.tensors.model import without_samples

_ARRAYS = (2, 3)
_TARGET_KEYS = ("labels", "label", "targets", "target", "y")
_FORMS = (
    "(x, y), (x, y, sample_weight), a torch Dataset or DataLoader, or a generator or iterable of (x, y) "
    "or (x, y, sample_weight) batches"
)


class Batch(NamedTuple):
    """One batch: the model's inputs (a tensor, or a sequence or mapping of several), targets and sample weights."""

    inputs: Any
    targets: Any
    weights: torch.Tensor | None
    samples: int


Batches = Callable[[], Iterable[Batch]]
"""Gives the same batches, in the same order, on every call."""


def batches_from(val_data: object, *, batch_size: int, steps: int) -> Batches:
    """Validation batches from ``val_data``.

    Data of known length is used completely; it is read here up to the first batch with a sample. A generator, an
    ``IterableDataset`` or another iterable without a length is read here, at most ``steps`` batches, and kept in
    memory. NumPy integers become int64, as torch's losses require.

    Raises:
        ConfigurationError: ``val_data`` or the first batch in it has none of the documented forms, or it is empty.
    """
    source: Iterable[object]
    if isinstance(val_data, tuple) or _lists_arrays(val_data):
        arrays = _arrays(tuple(val_data))
        _require_samples([arrays], val_data)
        return lambda: _slices(arrays, batch_size)
    if isinstance(val_data, IterableDataset):
        source = iter(DataLoader(val_data, batch_size=batch_size))
    elif isinstance(val_data, Dataset):
        source = DataLoader(val_data, batch_size=batch_size, shuffle=False)
    elif isinstance(val_data, Iterable) and not isinstance(val_data, (str, bytes, Mapping, np.ndarray, torch.Tensor)):
        source = val_data
    else:
        raise ConfigurationError(f"val_data is a {type(val_data).__name__}, allowed: {_FORMS}")
    if not _has_length(source):
        kept = [_batch(item) for item in islice(source, steps)]
        _require_samples(kept, val_data)
        return lambda: kept
    with closing(_replayed(source)) as items:
        _require_samples(map(_batch, items), val_data)
    return lambda: (_batch(item) for item in _replayed(source))


def _lists_arrays(val_data: object) -> TypeGuard[list[object]]:
    """Whether it is ``[x, y]``, not a list of batches: a single array is not a batch."""
    return (
        isinstance(val_data, list)
        and len(val_data) in _ARRAYS
        and all(isinstance(item, (np.ndarray, torch.Tensor)) for item in val_data)
    )


def _require_samples(batches: Iterable[Batch], val_data: object) -> None:
    """Raise an error for data without a sample; reads up to the first batch that has one."""
    if not any(batch.samples for batch in batches):
        raise without_samples(val_data)


def _has_length(source: Iterable[object]) -> bool:
    if isinstance(source, Iterator) or not isinstance(source, Sized):
        return False
    try:
        len(source)
    except TypeError:  # a DataLoader over an IterableDataset
        return False
    return True


def _replayed(source: Iterable[object]) -> Generator[object, None, None]:
    """One pass over ``source`` that restores the random generators of a user's DataLoader."""
    holders = (source, getattr(source, "sampler", None), getattr(source, "batch_sampler", None))
    generators = [generator for holder in holders if (generator := getattr(holder, "generator", None)) is not None]
    states = [generator.get_state() for generator in generators]
    try:
        yield from source
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _arrays(parts: tuple[object, ...]) -> Batch:
    if len(parts) not in _ARRAYS:
        raise ConfigurationError(f"val_data is a tuple of {len(parts)}, allowed: {_FORMS}")
    batch = _batch(parts)
    lengths = [len(leaf) for leaf in _leaves(batch[:3]) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if len(set(lengths)) != 1:
        raise ConfigurationError(f"val_data holds arrays of different lengths: {', '.join(map(str, lengths))} samples")
    return batch


def _slices(whole: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, whole.samples, size):
        part = slice(start, start + size)
        weights = None if whole.weights is None else whole.weights[part]
        samples = min(size, whole.samples - start)
        yield Batch(_cut(whole.inputs, part), _cut(whole.targets, part), weights, samples)


def _cut(value: Any, part: slice) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(item, part) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_cut(item, part) for item in value]
    return value[part]


def _batch(item: object) -> Batch:
    """A batch from ``(x, y)``, ``(x, y, sample_weight)`` or a mapping with its targets under a usual key."""
    weights: torch.Tensor | None = None
    if isinstance(item, Mapping):
        key = next((key for key in _TARGET_KEYS if key in item), None)
        if key is None:
            raise ConfigurationError(
                f"a batch of val_data is a mapping with the keys {', '.join(map(str, item))}: "
                f"its targets are looked for under {', '.join(_TARGET_KEYS)}"
            )
        x: object = {name: value for name, value in item.items() if name != key}
        y: object = item[key]
    elif isinstance(item, (tuple, list)) and len(item) in _ARRAYS:
        x, y = item[:2]
        if len(item) > 2 and item[2] is not None:
            weights = torch.as_tensor(_tensors(item[2])).reshape(-1)
    else:
        raise ConfigurationError(f"a batch of val_data is a {type(item).__name__}, allowed: {_FORMS}")
    inputs, targets = _tensors(x), _tensors(y)
    return Batch(inputs, targets, weights, _samples(targets, inputs))


def _tensors(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return {name: _tensors(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)) and not all(isinstance(leaf, (int, float)) for leaf in _leaves(value)):
        return [_tensors(item) for item in value]
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return value
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.long() if array.dtype.kind in "iu" and array.dtype != np.uint8 else tensor


def _samples(*values: Any) -> int:
    for leaf in _leaves(values):
        if isinstance(leaf, torch.Tensor) and leaf.ndim:
            return len(leaf)
    raise ConfigurationError("a batch of val_data holds no array with a batch dimension")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def placed(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """``value`` with every tensor in it on ``device``, and float tensors as ``dtype``."""
    if isinstance(value, torch.Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {name: placed(item, device, dtype) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [placed(item, device, dtype) for item in value]
    return value

"""Model files: safetensors, written completely or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, deserialize

from swarm.errors import ModelError, UnreadableFileError
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec, Tied, as_bytes, numpy_dtype

if TYPE_CHECKING:
    from swarm.tensors.model import ModelPort

Rename = Callable[[dict[str, Array], list[str]], dict[str, Array]]

LOCAL = "local.safetensors"
"""The weights with which this peer's own training ended."""
FINAL = "swarm-final.safetensors"
"""The closing model, or the final model of a peer that trained alone by configuration (loopback)."""
SITE = "site-final.safetensors"
"""The final model as this site holds it, if it keeps values of its own."""
BEST = "swarm-best.safetensors"
"""The best merged model, by the metric of the swarm."""
OWN = "own-final.safetensors"
"""The final model of this peer if there was no closing round."""
FRAMEWORK_SUFFIXES = (".pt", ".ckpt", ".keras", "")
"""Of the final model in the format of its framework, beside one of these: PyTorch's, Lightning's, Keras's, and the
directory of Transformers."""
VIEW_AS_REAL = "view_as_real"
"""The metadata that lists complex tensors which are in the file as pairs of real numbers."""

_MAX_HEADER = 100_000_000
"""Bytes of the header of a file, as the library limits it."""
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""NumPy's name of each dtype in a file. The loader of safetensors for NumPy knows neither bfloat16 nor float8."""
_FILE_DTYPES = {name: file_dtype for file_dtype, name in _DTYPES.items()}


def write_model(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
    """Write ``model`` under its tensors' names, with ``about`` as metadata, replacing ``path`` in one step.

    A tied tensor is written under each of its names, as the framework's loader expects. complex64 tensors are written
    as complex64. The format has no other complex dtypes, so those tensors are written as pairs of real numbers, and the
    metadata lists their names as JSON under ``view_as_real``.

    Equal models and metadata give equal bytes. (The library writes metadata in a random order.) The tensors are written
    without a copy in memory.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    about = dict(about)
    if pairs := _pairs(model.schema):
        about[VIEW_AS_REAL] = json.dumps(sorted(pairs))
    write_tensors(path, _named(model), about)


def write_tensors(path: Path, tensors: Mapping[str, Array], about: Mapping[str, str]) -> None:
    """Write contiguous arrays under their names, with ``about`` as metadata, replacing ``path`` in one step.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    header, order = _header({name: (array.dtype, array.shape) for name, array in tensors.items()}, about)
    replace_file(path, header, *(as_bytes(tensors[name]) for name in order))


def stored_tensors(schema: Schema) -> list[tuple[str, int]]:
    """The tensors in a file of a whole model, in the order of their values: name, and index in the schema.

    For ``write_parts``, which writes a tied tensor under a further name only where that is the same view of it.
    """
    return [(name, index) for name, (index, _) in _in_order(schema)]


def write_parts(path: Path, schema: Schema, parts: Iterable[bytes | memoryview], about: Mapping[str, str]) -> None:
    """Write a model whose values come in parts, and are in memory a part at a time; as ``write_model``.

    Args:
        path: the file.
        schema: of the model.
        parts: the values of the tensors in the order of ``stored_tensors``, however they are cut.
        about: the metadata.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    about = dict(about)
    if pairs := _pairs(schema):
        about[VIEW_AS_REAL] = json.dumps(sorted(pairs))
    header, _ = _header({name: form for name, (_, form) in _in_order(schema)}, about)
    _replace(path, chain([header], parts))


_Form = tuple[np.dtype[np.generic], tuple[int, ...]]
"""Dtype and shape of a tensor in a file."""


def _in_order(schema: Schema) -> list[tuple[str, tuple[int, _Form]]]:
    forms: dict[str, tuple[int, _Form]] = {}
    for index, (name, spec) in enumerate(zip(stored_names(schema), schema.tensors, strict=True)):
        whole = spec.complex and spec.dtype == "float32"
        form = (np.dtype(np.complex64), spec.shape[:-1]) if whole else (numpy_dtype(spec.dtype), spec.shape)
        forms[name] = index, form
    for name, spec in zip(stored_names(schema), schema.tensors, strict=True):
        for tied in spec.tied:
            forms.setdefault(tied.name, forms[name])
    _, order = _header({name: form for name, (_, form) in forms.items()}, {})
    return [(name, forms[name]) for name in order]


def _header(tensors: Mapping[str, _Form], about: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """The beginning of a file, and the names of its tensors in the order of their values."""
    # Largest item size first, so that every tensor is aligned, as readers with memory mapping need.
    order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(sorted(about.items()))}
    end = 0
    for name in order:
        dtype, shape = tensors[name]
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _FILE_DTYPES[dtype.name], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def read_model_file(path: Path, schema: Schema) -> ModelState:
    """Read a model that ``write_model`` has written.

    Raises:
        UnreadableFileError: the file cannot be read, or is not a complete safetensors file.
        ModelError: it contains a model of another schema; the message names the first difference.
    """
    model = ModelState.empty(schema)
    _fill(model, load_tensors(path), partial=False)
    return model


def read_about(path: Path) -> dict[str, str]:
    """The metadata of a model file, without its tensors.

    Raises:
        UnreadableFileError: the file cannot be read, or is no safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= _MAX_HEADER else None
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(str(error)) from error
    about = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise UnreadableFileError("it is no safetensors file")
    return about


def load_into(port: ModelPort, path: Path, rename: Rename | None = None) -> None:
    """Write the tensors of a file into a model. Tensors that are not in the file are not changed.

    Args:
        port: the model.
        path: a file written by ``write_model``.
        rename: gives the tensors of the file the names that they have in the model, which are its second argument.

    Raises:
        ModelError: the file cannot be read, or it is of another model; the message names the first difference.
    """
    model = ModelState.empty(port.schema())
    port.read(model)
    try:
        tensors = load_tensors(path)
        _fill(model, rename(tensors, stored_names(model.schema)) if rename else tensors, partial=True)
    except UnreadableFileError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    except ModelError as error:
        raise ModelError(f"{path} is of another model: {error}") from error
    port.write(model)


def _fill(model: ModelState, tensors: Mapping[str, Array], *, partial: bool) -> None:
    names = stored_names(model.schema)
    for name, (spec, array) in zip(names, model.arrays(), strict=True):
        target, values = _stored(spec, array), tensors.get(name)
        if values is None:
            if partial:
                continue
            raise ModelError(f"{name!r} is not in the file{_hint(tensors, names)}")
        if values.shape != target.shape or values.dtype != target.dtype:
            there, here = (f"{each.dtype.name}{list(each.shape)}" for each in (values, target))
            raise ModelError(f"{name!r} is {there} in the file, and {here} in the model")
        target[...] = values
    if extra := tensors.keys() - {*names, *(tied.name for spec in model.schema.tensors for tied in spec.tied)}:
        raise ModelError(f"{min(extra)!r} is in the file, and not in the model")


def _named(model: ModelState) -> dict[str, Array]:
    """The tensors of a file, by name."""
    stored = (_stored(spec, array) for spec, array in model.arrays())
    tensors = dict(zip(stored_names(model.schema), stored, strict=True))
    for spec, array in model.arrays():
        for tied in spec.tied:
            tensors.setdefault(tied.name, _stored(spec, _view(array, tied)))
    return tensors


def _stored(spec: TensorSpec, array: Array) -> Array:
    """A view of a tensor's values as they are in a file."""
    if spec.complex and spec.dtype == "float32":
        return array.view(np.complex64).reshape(array.shape[:-1])
    return array


def _pairs(schema: Schema) -> set[str]:
    """The names of complex tensors that are in a file as pairs of real numbers."""
    pairs = set()
    for name, spec in zip(stored_names(schema), schema.tensors, strict=True):
        if spec.complex and spec.dtype != "float32":
            pairs |= {name, *(tied.name for tied in spec.tied)}
    return pairs


def _view(array: Array, tied: Tied) -> Array:
    """The values of a tied tensor as they are under its other name."""
    if tied.order is None:
        return array
    memory = np.ascontiguousarray(array.transpose(tied.order))
    strides = tuple(stride * array.itemsize for stride in tied.strides)
    return np.lib.stride_tricks.as_strided(memory, tied.shape, strides).copy()


def _hint(tensors: Mapping[str, Array], names: Collection[str]) -> str:
    """Another tensor of the file, as the end of a sentence about a missing one."""
    others = sorted(set(tensors).difference(names))
    return f", which has {others[0]!r}" if others else ""


def load_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file, by name.

    Raises:
        UnreadableFileError: the file cannot be read, or is not a complete safetensors file.
    """
    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        return {
            name: np.frombuffer(tensor["data"], numpy_dtype(_DTYPES[tensor["dtype"]])).reshape(tensor["shape"])
            for name, tensor in tensors
        }
    except (OSError, SafetensorError) as error:
        raise UnreadableFileError(str(error)) from error
    except KeyError as error:
        raise UnreadableFileError(f"it has a tensor of dtype {error}") from error


def map_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a file that this process has written, by name, without reading them into memory.

    Each is a view of the file. What is assigned to it stays in memory.

    Raises:
        OSError: the file cannot be read.
    """
    file = np.memmap(path, np.uint8, "c")
    begin = 8 + int.from_bytes(file[:8].tobytes(), "little")
    header = json.loads(file[8:begin].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        start, end = about["data_offsets"]
        values = file[begin + start : begin + end].view(numpy_dtype(_DTYPES[about["dtype"]]))
        tensors[name] = np.asarray(values).reshape(about["shape"])
    return tensors


def stored_names(schema: Schema) -> list[str]:
    """The names of the tensors in a file; a number is added if several have the same name."""
    names: dict[str, None] = {}
    for spec in schema.tensors:
        candidates = (spec.name if number == 1 else f"{spec.name}#{number}" for number in count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)


def replace_file(path: Path, *parts: bytes | memoryview) -> None:
    """Write ``parts`` to a temporary file that then replaces ``path``, so that ``path`` is never incomplete.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    _replace(path, parts)


def _replace(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Have a file or a directory written under another name beside ``path``, which it then replaces.

    Args:
        path: the place of the result.
        write: called with the other name, which has the same suffix.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
        Exception: what ``write`` raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        if path.is_dir() and temporary.is_dir():
            remove(path)
        temporary.replace(path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a whole directory, if it is there.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

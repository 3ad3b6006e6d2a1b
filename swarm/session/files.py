"""Models on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from swarm.errors import ModelError
from swarm.state import Array, ModelState, Schema, numpy_dtype

LOCAL = "local.safetensors"
"""The weights with which this peer's own training ended."""
FINAL = "swarm-final.safetensors"
"""The model that this peer ended with: the swarm's closing model, where there was a closing round."""


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


class UnreadableFileError(Exception):
    """A file is missing, damaged, or may not be read."""


def write_model(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
    """Write ``model`` under its tensors' names, with ``about`` as metadata, replacing ``path`` in one step.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    tensors = dict(zip(_names(model.schema), (array for _, array in model.arrays()), strict=True))
    replace_file(path, save(tensors, dict(about)))


def read_model_file(path: Path, schema: Schema) -> ModelState:
    """The model that ``write_model`` wrote.

    Raises:
        UnreadableFileError: the file cannot be read, or is no whole safetensors file.
        ModelError: it holds another model than one of this schema; the message names the first difference.
    """
    tensors = _load(path)
    model = ModelState.empty(schema)
    names = _names(schema)
    for name, (spec, target) in zip(names, model.arrays(), strict=True):
        values = tensors.pop(name, None)
        if values is None:
            raise ModelError(f"{name!r} is not in the file{_hint(tensors, names)}")
        if values.shape != spec.shape or values.dtype != target.dtype:
            there, here = (f"{array.dtype.name}{list(array.shape)}" for array in (values, target))
            raise ModelError(f"{name!r} is {there} in the file, and {here} in the model")
        target[...] = values
    if tensors:
        raise ModelError(f"{min(tensors)!r} is in the file, and not in the model")
    return model


def _hint(tensors: Mapping[str, Array], names: Collection[str]) -> str:
    """What the file has in the place of a missing tensor, as the end of a sentence."""
    others = sorted(set(tensors).difference(names))
    return f", which has {others[0]!r}" if others else ""


def _load(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file, by name.

    Raises:
        UnreadableFileError: the file cannot be read, or is no whole safetensors file.
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


def _names(schema: Schema) -> list[str]:
    """The tensors' names, told apart where a framework gives several the same one."""
    seen: Counter[str] = Counter()
    names = []
    for spec in schema.tensors:
        seen[spec.name] += 1
        names.append(spec.name if seen[spec.name] == 1 else f"{spec.name}#{seen[spec.name]}")
    return names


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what it held before.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

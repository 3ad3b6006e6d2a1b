"""Models on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save

from swarm.state import ModelState, Schema

LOCAL = "local.safetensors"
"""The weights with which this peer's own training ended."""
FINAL = "swarm-final.safetensors"
"""The model that this peer ended with: the swarm's closing model, where there was a closing round."""


def write_model(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
    """Write ``model`` under its tensors' names, with ``about`` as metadata, replacing ``path`` in one step.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    tensors = dict(zip(_names(model.schema), (array for _, array in model.arrays()), strict=True))
    replace_file(path, save(tensors, dict(about)))


def read_model_file(path: Path, schema: Schema) -> ModelState | None:
    """The model that ``write_model`` wrote; None if it does not fit ``schema``, or the file is damaged."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError):
        return None
    model = ModelState.empty(schema)
    if len(tensors) != len(schema.tensors):
        return None
    for (spec, target), values in zip(model.arrays(), map(tensors.get, _names(schema)), strict=True):
        if values is None or values.shape != spec.shape or values.dtype != target.dtype:
            return None
        target[...] = values
    return model


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

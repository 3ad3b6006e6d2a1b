"""Models on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import os
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
    replace_file(path, save({spec.name: array for spec, array in model.arrays()}, dict(about)))


def read_model_file(path: Path, schema: Schema) -> ModelState | None:
    """The model that ``write_model`` wrote; None if it does not fit ``schema``, or the file is damaged."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError):
        return None
    model = ModelState.empty(schema)
    if len(tensors) != len(schema.tensors):
        return None
    for (spec, target), values in zip(model.arrays(), (tensors.get(spec.name) for spec in schema.tensors), strict=True):
        if values is None or values.shape != spec.shape or values.dtype != target.dtype:
            return None
        target[...] = values
    return model


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

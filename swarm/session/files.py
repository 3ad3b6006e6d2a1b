"""Models on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import save

from swarm.state import ModelState

LOCAL = "local.safetensors"
"""The weights with which this peer's own training ended."""
FINAL = "swarm-final.safetensors"
"""The model that this peer ended with: the swarm's closing model, where there was a closing round."""


def write_model(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
    """Write ``model`` under its tensors' names, with ``about`` as metadata, replacing ``path`` in one step.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {spec.name: array for spec, array in model.arrays()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(save(tensors, dict(about)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

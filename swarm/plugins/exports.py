"""What an integration can write a model as: files in the framework's own format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExampleInput:
    """The form of one input of a model."""

    shape: tuple[int, ...]
    """Its first dimension is that of the batch, which may be another one later."""
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What to write where."""

    source: Path
    """A model file of a run, such as ``swarm-final.safetensors``."""
    output: Path
    """A file, or a directory, that is not there yet. It gets its final name once it is complete."""
    model: Any = None
    """A model as it was trained, with any weights; None where the user gave none."""
    inputs: tuple[ExampleInput, ...] = ()

    def require_model(self, kind: str) -> Any:
        """The model.

        Args:
            kind: what is written, for the message.

        Raises:
            ConfigurationError: there is none.
        """
        if self.model is None:
            raise ConfigurationError(
                f"{kind} needs the model, of which {self.source} has only the tensors: give --model FILE:FUNCTION, a "
                "function that makes it as it was trained, such as --model train.py:make_model"
            )
        return self.model


Exporter = Callable[[Export], None]
"""Writes one format; imports the framework only when called.

Raises:
    ConfigurationError: something is missing, or does not fit.
    ModelError: ``source`` cannot be read, or is of another model.
"""

"""Writes a model as a directory that ``from_pretrained`` reads: a whole model, or adapters of PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.pytorch import load_weights

if TYPE_CHECKING:
    from swarm.plugins import Export


def save(model: Any, directory: Path, processing_class: Any = None) -> None:
    """Write model and tokenizer (or another processor)."""
    directory.mkdir(parents=True)
    for each in (model, processing_class):
        if hasattr(each, "save_pretrained"):
            each.save_pretrained(directory)


def write_directory(export: Export) -> None:
    """Write the directory of a model with the weights of a run.

    Raises:
        ConfigurationError: the model is missing, or is none of Transformers.
        ModelError: the file cannot be read, or is of another model.
    """
    model = export.require_model("a directory of Transformers")
    if not hasattr(model, "save_pretrained"):
        raise ConfigurationError(
            f"{type(model).__name__} has no save_pretrained, so that Transformers cannot write it as a directory: give "
            "a model of Transformers or PEFT, or write a .pt file"
        )
    load_weights(model, export.source)
    save(model, export.output)

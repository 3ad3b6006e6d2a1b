"""Writes a model as a directory that ``from_pretrained`` reads: a whole model, or adapters of PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.pytorch import load_weights, whole_state

if TYPE_CHECKING:
    from swarm.plugins import Export


def save(model: Any, directory: Path, processing_class: Any = None, *, writes: bool = True) -> None:
    """Write model and tokenizer (or another processor).

    Of several processes that train the model all call this, as each may have only a part of it, and one ``writes``.

    Raises:
        ModelError: the model is under FSDP1.
    """
    state = whole_state(model)
    if not writes:
        return
    directory.mkdir(parents=True)
    model.save_pretrained(directory, **({} if state is None else {"state_dict": state}))
    if hasattr(processing_class, "save_pretrained"):
        processing_class.save_pretrained(directory)


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

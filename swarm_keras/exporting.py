"""Writes a Keras model with the weights of a run: as a ``.keras`` file, or as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from swarm.errors import ConfigurationError
from swarm_keras.loading import load_weights

if TYPE_CHECKING:
    from swarm.plugins import Export


def write_keras(export: Export) -> None:
    """Write the whole model, as ``keras.models.load_model`` reads it.

    Raises:
        ConfigurationError: the model is missing.
        ModelError: it is not built, or the file cannot be read or is of another model.
    """
    model = export.require_model("a .keras file")
    load_weights(model, export.source)
    model.save(export.output)


def write_onnx(export: Export) -> None:
    """Write an ONNX model with the inputs that the Keras model was built with.

    Raises:
        ConfigurationError: the model is missing, or Keras cannot export it.
        ModelError: it is not built, or the file cannot be read or is of another model.
    """
    model = export.require_model("ONNX")
    load_weights(model, export.source)
    try:
        batch = [keras.ops.zeros([size or 1 for size in each.shape], each.dtype) for each in model.inputs]
        model(batch[0] if len(batch) == 1 else batch)  # Keras exports no model that was never called
        model.export(export.output, format="onnx", verbose=False)
    except Exception as error:
        raise ConfigurationError(
            f"Keras cannot write {model.name!r} as ONNX ({type(error).__name__}: {str(error)[:300]}): it needs the "
            "packages that model.export(format='onnx') names, for the backend torch: pip install "
            "'swarm-learning[onnx]'"
        ) from error

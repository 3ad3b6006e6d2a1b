"""The entry point of the Keras integration; loads no Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.callback import is_keras_2
from swarm.plugins import Integration, Register, hookimpl

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments
    from swarm.plugins import Export


def serves(model: object) -> bool:
    """Whether ``model`` is a Keras 3 model, judged by the classes it derives from."""
    return any(
        base.__name__ == "Model" and base.__module__.split(".")[0] == "keras" and not is_keras_2(base.__module__)
        for base in type(model).__mro__
    )


def create(arguments: CallbackArguments) -> object:
    """The Keras callback for ``arguments``."""
    from swarm_keras import SwarmCallback

    return SwarmCallback.from_arguments(arguments)


@hookimpl
def swarm_register(register: Register) -> None:
    """Offer the Keras callback for the platforms KERAS and TF."""
    register.integration(
        Integration(
            platforms=("KERAS", "TF"),
            extra="keras",
            serves=serves,
            create=create,
            exporters={".keras": _keras, ".onnx": _onnx},
        )
    )


def _keras(export: Export) -> None:
    from swarm_keras.exporting import write_keras

    write_keras(export)


def _onnx(export: Export) -> None:
    from swarm_keras.exporting import write_onnx

    write_onnx(export)

"""The entry point of the integration; loads neither Transformers nor torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.plugins import Integration, Register, hookimpl

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments
    from swarm.plugins import Export


def serves(model: object) -> bool:
    """Whether ``model`` is a torch module, which a ``Trainer`` may train; judged by the classes it derives from."""
    bases = {(base.__module__, base.__name__) for base in type(model).__mro__}
    return ("torch.nn.modules.module", "Module") in bases


def create(arguments: CallbackArguments) -> object:
    """The callback for a ``Trainer``."""
    from swarm_transformers import SwarmTrainerCallback

    return SwarmTrainerCallback.from_arguments(arguments)


@hookimpl
def swarm_register(register: Register) -> None:
    """Serve ``ml_platform="HF_TRANSFORMER"``; a model alone means a loop of the user's own."""
    register.integration(
        Integration(
            platforms=("HF_TRANSFORMER",),
            extra="",
            serves=serves,
            create=create,
            exporters={"": _directory},
            inferred=False,
            distribution="swarm-transformers",
        )
    )


def _directory(export: Export) -> None:
    from swarm_transformers.saving import write_directory

    write_directory(export)

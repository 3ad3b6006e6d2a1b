"""Registers the Lightning integration; loads no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.plugins import Integration, Register, hookimpl

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments


@hookimpl
def swarm_register(register: Register) -> None:
    """Serve ``ml_platform="LIGHTNING"``."""
    register.integration(Integration(platforms=("LIGHTNING",), extra="lightning", serves=_serves, create=_create))


def _serves(_model: object) -> bool:
    """Always False: a model passed to ``SwarmCallback``, even a LightningModule, is trained by the user's loop."""
    return False


def _create(arguments: CallbackArguments) -> Any:
    from swarm_lightning.callback import SwarmLightningCallback

    return SwarmLightningCallback.from_arguments(arguments)

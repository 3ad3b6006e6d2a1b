"""The callback that the environment adds to a Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm_lightning.callback import SwarmLightningCallback
from swarm_lightning.hooks import SwarmHooks

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class AddedCallback(SwarmLightningCallback):
    """A ``SwarmLightningCallback`` that leaves a fit to the one that the script lists, if it lists one."""

    @property
    def state_key(self) -> str:
        """A key other than that of the listed one, as Lightning refuses two callbacks with one key."""
        return f"{super().state_key}(environment)"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """As of the base class, unless the script lists a callback of its own."""
        others = [
            each for each in getattr(trainer, "callbacks", []) if isinstance(each, SwarmHooks) and each is not self
        ]
        if others:
            self.stand_aside()
            self.logger.info(
                "the script lists a SwarmLightningCallback: the one that the environment adds does nothing"
            )
        else:
            super().setup(trainer, pl_module, stage)

"""The callback that a Trainer takes."""

from __future__ import annotations

from swarm_lightning.flavours import callback_classes
from swarm_lightning.hooks import SwarmHooks


class SwarmLightningCallback(SwarmHooks, *callback_classes()):  # type: ignore[misc]  # bases known when installed
    """Trains a LightningModule in a swarm: ``Trainer(callbacks=[SwarmLightningCallback()])``.

    It is a callback of ``lightning`` and of ``pytorch_lightning``, depending on which are installed. The arguments are
    those of ``swarm.SwarmCallback``, all optional: the command that starts the script sets addresses and names.
    """

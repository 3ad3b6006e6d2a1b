"""What a session needs where each process of its site exchanges its own shard of the model."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.peer.other_ranks import OtherRanks
    from swarm.storage.checkpoints import CheckpointStore
    from swarm.storage.writer import Writer
    from swarm.tensors.state import Schema


class SiteShards(ABC):
    """The other processes of the site, in rank 0; complete once they have met, before the session joins."""

    ranks: OtherRanks
    """Directs the others."""
    whole: Schema
    """The schema of the whole model."""
    layout: str
    """Which process has what, as sites compare it."""

    @abstractmethod
    def of_process(self, settings: Settings) -> Settings:
        """The settings with which this process reaches other sites: what holds for the site is shared by all shards.

        Raises:
            ConfigurationError: a part is less than other sites take.
        """

    @abstractmethod
    def writer(self, directory: Path, logger: logging.Logger) -> Writer:
        """Writes whole models, of which this process has a shard."""

    @abstractmethod
    def checkpoints(self, settings: Settings) -> CheckpointStore | None:
        """Stores committed models, each process its shard; None without a model directory.

        ``settings`` are those of the peer, with the name that it has.
        """

"""Statistics of the data of all sites, before training: ``swarm.pool``."""

from __future__ import annotations

from swarm.pooling.record import Pooled
from swarm.pooling.run import pool

__all__ = ["Pooled", "pool"]

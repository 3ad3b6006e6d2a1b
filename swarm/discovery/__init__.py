"""How a peer finds addresses of other peers."""

from __future__ import annotations

from swarm.discovery.base import Discovery

__all__ = ["Discovery"]

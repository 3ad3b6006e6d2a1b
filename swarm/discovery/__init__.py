"""Where addresses of peers come from."""

from __future__ import annotations

from swarm.discovery.base import Discovery

__all__ = ["Discovery"]

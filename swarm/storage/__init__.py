"""Files of a peer: checkpoints, results, and records of how its sessions ended."""

from __future__ import annotations

from swarm.storage.files import load_into

__all__ = ["load_into"]

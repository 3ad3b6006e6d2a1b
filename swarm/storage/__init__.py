"""Files of a peer: checkpoints, results, the ledger, the state of its training, and records of how sessions ended."""

from __future__ import annotations

from swarm.storage.files import load_into

__all__ = ["load_into"]

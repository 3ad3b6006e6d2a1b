"""One peer's part in one training: the hook sequence, and the worker behind it."""

from __future__ import annotations

from swarm.session.resuming import resumed_before
from swarm.session.session import Session

__all__ = ["Session", "resumed_before"]

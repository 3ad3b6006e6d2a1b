"""Which modules are Swarm's own, and not the script's or a framework's."""

from __future__ import annotations

OURS = ("swarm", "swarm_keras", "swarm_lightning")


def is_ours(module: str) -> bool:
    """Whether the module of this dotted name is one of Swarm's."""
    return module.partition(".")[0] in OURS

"""Which modules are Swarm's own, as against those of the script and of its frameworks."""

from __future__ import annotations

OURS = ("swarm", "swarm_keras", "swarm_lightning")


def is_ours(module: str) -> bool:
    """Whether the module of this dotted name is one of Swarm's."""
    return module.partition(".")[0] in OURS

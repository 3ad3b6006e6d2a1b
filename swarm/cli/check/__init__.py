"""``swarm check``: what would go wrong in a run, found before it begins."""

from swarm.cli.check.command import check

__all__ = ["check"]

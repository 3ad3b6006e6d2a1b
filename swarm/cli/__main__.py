"""``python -m swarm.cli``: the same as ``swarm``."""

from __future__ import annotations

from swarm.cli import main

main()

"""The ``swarm`` command.

``swarm.cli.app`` holds the commands, one module each; ``swarm --help`` lists them. ``demo`` and ``simulate`` are in
``swarm.demo`` and ``swarm.simulate``.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command with the arguments of this process."""
    from swarm.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a peer may write what this terminal cannot show
    app(prog_name="swarm")

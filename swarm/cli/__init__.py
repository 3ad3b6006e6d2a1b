"""The ``swarm`` command.

``swarm.cli.app`` holds the commands, one module each: ``up`` starts local peers, ``run`` starts the peer of one site,
``status`` asks running peers, ``dashboard`` shows them on a page, ``config`` prints the settings and ``demo`` shows
what a swarm gains. ``init``, ``invite``, ``join``, ``sign``, ``members``, ``renew`` and ``revoke`` make and manage the
identities of a consortium.
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

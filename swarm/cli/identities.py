"""``swarm identities``: throw-away identities for peers of one owner, such as the tasks of a job on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.environment import peer_name
from swarm.cli.site import note
from swarm.errors import IdentityError
from swarm.identity.files import make_directory
from swarm.identity.throwaway import make_identities

OPERATOR = "operator"


def identities(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made by this command; only its owner can read it.")],
    peers: Annotated[int, typer.Option("-n", "--peers", min=1, max=1000, help="One for each of so many peers.")],
) -> None:
    """Make identities for the peers of one owner.

    [bold]swarm identities -n 8 identities[/]

    The peers trust one another and nobody else, for a year. Their private keys
    are in DIR: whoever can read it can be each of them. Sites that do not share
    their keys use `swarm init`, `invite` and `join` instead.
    """
    if directory.exists() and not directory.is_dir():
        raise IdentityError(f"{directory} is a file: name a new directory")
    if directory.exists() and any(directory.iterdir()):
        raise IdentityError(f"{directory} is not empty: name a new directory, or use the identities that are there")
    make_directory(directory)
    names = [*map(peer_name, range(peers)), OPERATOR]
    make_identities({name: directory / name for name in names})
    note(f"{directory}: identities of {peer_name(0)} to {peer_name(peers - 1)}, with private keys")
    note(f"each task: swarm run --identities {directory} -- python train.py")
    note(f"to look: SWARM_IDENTITY={directory / OPERATOR} swarm status --peer HOST:PORT")

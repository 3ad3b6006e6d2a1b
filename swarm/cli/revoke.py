"""``swarm revoke``: remove a member."""

from __future__ import annotations

from typing import Annotated

import typer

from swarm.cli.site import CONSORTIUM, ConsortiumOption, authority, note, tell_who_hands_on


def revoke(
    name: Annotated[str, typer.Argument(help="Of the member.")],
    *,
    consortium: ConsortiumOption = CONSORTIUM,
) -> None:
    """Remove a member: its certificates and invitations count no more.

    [bold]swarm revoke berlin[/]

    The founder's running peer hands the new document to the other members
    within seconds. What the member has received before stays with it.
    """
    of = authority(consortium)
    count = of.revoke(name)
    note(f"{name} is revoked, with {count} certificate{'s' if count != 1 else ''}")
    tell_who_hands_on(of)

"""``swarm revoke``: remove a member."""

from __future__ import annotations

from typing import Annotated

import typer

from swarm.cli.site import CONSORTIUM, ConsortiumOption, authority, note


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
    document = of.document
    note(f"{name} is revoked, with {count} certificate{'s' if count != 1 else ''}")
    if of.hand_to_founder():
        note(f"the peer of {of.register.founder} hands version {document.version} of the document to the others")
        note("if it does not run: swarm members --export FILE here, swarm members --import FILE at each other site")
    else:
        note(f"the identity of {of.register.founder} is not in {of.register.identity}: no peer hands the change on;")
        note("swarm members --export FILE here, swarm members --import FILE at each other site")

"""``swarm members``: who the members of the consortium are, and what each may do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from swarm.cli import options
from swarm.cli.site import (
    CONSORTIUM,
    ConsortiumOption,
    IdentityOption,
    authority,
    day,
    identity_directory,
    note,
    tell_who_hands_on,
)
from swarm.cli.table import console
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity import files
from swarm.identity.authority import Authority
from swarm.identity.consortium import Consortium, Role
from swarm.identity.identity import Identity
from swarm.records import MAX_WEIGHT

Until = Callable[[str], datetime | None]
"""When the certificate of a member ends, as far as known here."""


def members(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of the member that --weight and --role change.")
    ] = None,
    *,
    weight: Annotated[
        int | None, typer.Option(min=0, max=MAX_WEIGHT, help="From now on the largest node_weightage of NAME.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="From now on the role of NAME.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the consortium's document, for another site.")
    ] = None,
    adopt: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Use the document in FILE if it is newer.")
    ] = None,
    json_output: options.Json = False,
    identity: IdentityOption = None,
    consortium: ConsortiumOption = CONSORTIUM,
) -> None:
    """Show the members of the consortium, or change the largest weight or the role of one.

    [bold]swarm members[/]
    [bold]swarm members berlin --weight 20[/]

    With NAME it changes what that member may do, where the consortium was
    founded.

    Running peers hand newer documents to one another. --export and --import do
    that by hand. When certificates end is known where the consortium was
    founded; elsewhere only that of the own one.
    """
    if name is not None or weight is not None or role is not None:
        if name is None or (weight is None and role is None) or export or adopt or json_output:
            raise ConfigurationError("to change a member, give its NAME and --weight, --role or both, and nothing else")
        changed = (of := authority(consortium)).change(name, weight=weight, role=role)
        note(f"{name} is {changed.role}, weight at most {changed.weight}")
        tell_who_hands_on(of)
        return
    directory = identity_directory(identity)
    if adopt is not None:
        own = Identity(directory)
        newer = own.adopt(files.read(adopt))
        if own.document is None:
            raise IdentityError(f"the identity in {directory} is not one of a consortium: it has no document")
        note(
            f"version {own.document.version} of the document is used"
            + ("" if newer else ", as before: it is not older")
        )
        return
    document, data, until = _found(consortium, directory)
    if export is not None:
        files.write(export, data)
        note(f"{export}: version {document.version} of the document of {document.name}; it holds no secret")
    elif json_output:
        typer.echo(json.dumps(_record(document, until)))
    else:
        console().print(_table(document, until))


def _found(consortium: Path, directory: Path) -> tuple[Consortium, bytes, Until]:
    """The document, that of the authority if it is here; its bytes; and when certificates end."""
    if consortium.exists():
        kept = (of := Authority(consortium)).register
        return of.document, kept.document, kept.until
    if not directory.exists():
        raise ConfigurationError(
            f"there is neither {consortium} nor {directory} here: run this in the directory of `swarm init` or "
            "`swarm join`, or give --identity DIR"
        )
    own = Identity(directory)
    if own.document is None:
        raise IdentityError(
            f"the identity in {directory} comes from another public-key infrastructure, which knows who its members are"
        )
    ends = {own.name: own.certificate.not_after}
    return own.document, own.document_bytes, ends.get


def _table(document: Consortium, until: Until) -> Table:
    title = f"{document.name}, version {document.version} of {document.issued}"
    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(title), title_justify="left")
    for column in ("member", "role", "weight", "address", "certificate until"):
        table.add_column(column, justify="right" if column == "weight" else "left", no_wrap=True)
    for member in document.members:
        ends = until(member.name)
        row = (member.name, member.role.value, str(member.weight), member.address or "-", day(ends) if ends else "-")
        table.add_row(*map(Text, row))
    members = {member.name for member in document.members}
    for name in sorted({each.name for each in document.revoked} - members):
        when = max(each.time for each in document.revoked if each.name == name)
        table.add_row(*map(Text, (name, "revoked", "-", "-", f"revoked {when[:10]}")), style="dim")
    return table


def _record(document: Consortium, until: Until) -> dict[str, object]:
    return {
        "consortium": document.name,
        "version": document.version,
        "issued": document.issued,
        "members": [
            {
                "name": member.name,
                "role": member.role.value,
                "weight": member.weight,
                "address": member.address,
                "certificate_until": ends.isoformat() if (ends := until(member.name)) else None,
            }
            for member in document.members
        ],
        "revoked": [{"name": each.name, "serial": f"{each.serial:x}", "time": each.time} for each in document.revoked],
        "allowed": {name: list(values) for name, values in document.allowed.items()},
    }

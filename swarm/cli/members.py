"""``swarm members``: who the members of the consortium are."""

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
from swarm.cli.site import CONSORTIUM, ConsortiumOption, IdentityOption, day, identity_directory, note
from swarm.cli.table import console
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity import files
from swarm.identity.authority import Authority
from swarm.identity.consortium import Consortium
from swarm.identity.identity import Identity

Until = Callable[[str], datetime | None]
"""When the certificate of a member ends, as far as known here."""


def members(
    *,
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
    """Show the members of the consortium: role, largest weight, address, certificate.

    [bold]swarm members[/]

    Running peers hand newer documents to one another. --export and --import do
    that by hand. When certificates end is known where the consortium was
    founded; elsewhere only that of the own one.
    """
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

"""``swarm sign``: answer a request that was carried here in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.site import CONSORTIUM, ConsortiumOption, authority, day, note
from swarm.identity import files


def sign(
    request: Annotated[Path, typer.Argument(metavar="FILE", help="The request, of --request.")],
    *,
    consortium: ConsortiumOption = CONSORTIUM,
) -> None:
    """Answer a request for a certificate that was carried here in a file.

    [bold]swarm sign berlin.request[/]

    Writes FILE.reply, to be carried back. Neither file holds a secret, and a
    change to either is found.
    """
    answer = authority(consortium).answer(files.read(request))
    reply = request.with_name(f"{request.name}.reply")
    files.write(reply, answer.reply.encoded())
    what = "has used its invitation" if answer.joined else "has renewed its certificate"
    command = "join" if answer.joined else "renew"
    note(f"{answer.name} {what}; the certificate is valid until {day(answer.until)}")
    note(f"{reply}: carry it to {answer.name}; there: swarm {command} --reply {reply.name}")

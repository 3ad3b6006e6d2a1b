"""``swarm renew``: a new key and certificate for this site."""

from __future__ import annotations

from typing import Annotated

import typer

from swarm.cli.site import (
    CONSORTIUM,
    Advertise,
    ConsortiumOption,
    IdentityOption,
    Listen,
    ReplyFile,
    RequestFile,
    authority,
    day,
    identity_directory,
    is_founder,
    note,
    place,
    proxies,
    write_request,
)
from swarm.errors import ConfigurationError
from swarm.identity import files
from swarm.identity.client import ask
from swarm.identity.enrolment import Reply, read_reply
from swarm.identity.identity import Identity
from swarm.identity.site import Site


def renew(
    *,
    listen: Listen = None,
    advertise: Advertise = None,
    at: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the enrolment is; default as in the invitation.")
    ] = None,
    request: RequestFile = None,
    reply: ReplyFile = None,
    identity: IdentityOption = None,
    consortium: ConsortiumOption = CONSORTIUM,
) -> None:
    """Replace the key and the certificate of this site by new ones; also tells the others a new address.

    [bold]swarm renew[/]

    The current key proves who asks. `swarm invite` must run where the
    consortium was founded, unless this is that site. A running peer uses the
    new certificate without a restart.
    """
    directory = identity_directory(identity)
    site = Site(directory)
    if reply is not None:
        _installed(site, read_reply(files.read(reply)))
        return
    moved = place(listen, advertise) if listen or advertise else None
    address = moved.address(None) if moved else ""
    asked = site.renewal(address)
    if request is not None:
        write_request(request, asked, "renew")
        return
    if is_founder(consortium, Identity(directory)):
        answered = authority(consortium).answer(asked).reply
    else:
        addresses = [at] if at else site.addresses
        if not addresses:
            raise ConfigurationError(
                "it is not known where the enrolment is: give --at HOST:PORT, or use --request FILE"
            )
        answered = ask(addresses, site.pin, lambda _: asked, proxies=proxies())
    _installed(site, answered)
    if moved:
        moved.store()


def _installed(site: Site, reply: Reply) -> None:
    own = site.accept(reply)
    note(f"the certificate of {own.name} is renewed, with a new key, until {day(own.certificate.not_after)}")
    note("a running peer uses it without a restart")

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
    day,
    founders_authority,
    identity_directory,
    note,
    place,
    proxies,
    tell_who_hands_on,
    write_request,
)
from swarm.errors import ConfigurationError
from swarm.identity import files
from swarm.identity.authority import Authority
from swarm.identity.client import ask
from swarm.identity.enrolment import Reply, read_reply
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
    new certificate without a restart. At the founder, where the authority's
    key is, it also replaces an identity that has expired or is lost.
    """
    site = Site(identity_directory(identity))
    if reply is not None:
        _installed(site, read_reply(files.read(reply)))
        return
    moved = place(listen, advertise) if listen or advertise else None
    address = moved.address(None) if moved else ""
    of = founders_authority(consortium, site) if request is None else None
    if of is not None and not site.counts(of):
        _founded_again(site, of, address)
        if moved:
            moved.store()
        return
    asked = site.renewal(address)
    if request is not None:
        write_request(request, asked, "renew")
        return
    if of is not None:
        answered = of.answer(asked).reply
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


def _founded_again(site: Site, of: Authority, address: str) -> None:
    own = site.found_again(of, address)
    until = day(own.certificate.not_after)
    note(f"{site.directory}: a new identity of {own.name}, SECRET; its certificate is valid until {until}")
    note(f"earlier certificates of {own.name} count no more; if its peer runs elsewhere, move the directory there")
    tell_who_hands_on(of)

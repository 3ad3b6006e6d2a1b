"""``swarm join``: become a member of a consortium."""

from __future__ import annotations

import socket
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from swarm.addresses import Address
from swarm.cli.site import (
    Advertise,
    IdentityOption,
    Listen,
    Place,
    ReplyFile,
    RequestFile,
    day,
    identity_directory,
    note,
    place,
    proxies,
    write_request,
)
from swarm.errors import ConfigurationError
from swarm.identity import files
from swarm.identity.client import ask
from swarm.identity.directories import refuse_existing
from swarm.identity.enrolment import read_reply
from swarm.identity.identity import Identity
from swarm.identity.invitation import MAX_TEXT, Invitation
from swarm.identity.site import Site

PORT = 7700
"""That a peer listens on if nothing says otherwise."""
PORTS_BESIDE = range(7702, 8000)
"""On the founder's machine: there the founder's peer may have ``PORT``, and the enrolment has the one after it."""

_ONE_OF = (
    "swarm join needs one of: an INVITATION; --reply FILE; --make-request FILE with --name; --certificate, --authority "
    "and perhaps --key"
)


def join(
    invitation: Annotated[
        str | None,
        typer.Argument(
            metavar="[INVITATION]", help="The line of `swarm invite`, a file that holds it, or - for standard input."
        ),
    ] = None,
    *,
    listen: Listen = None,
    advertise: Advertise = None,
    request: RequestFile = None,
    reply: ReplyFile = None,
    make_request: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other PKI: make a key, and write a request (PKCS #10) to FILE.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Other PKI: name of this site in the request.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Other PKI: install this certificate and those above it.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Other PKI: its private key; default that of --make-request.")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Other PKI: the authority's certificate.")
    ] = None,
    revoked: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Other PKI: its list of revoked certificates.")
    ] = None,
    identity: IdentityOption = None,
) -> None:
    """Become a member of a consortium, or install an identity of another public-key infrastructure (PKI).

    [bold]swarm join INVITATION[/]

    Makes a private key in swarm-identity, which never leaves, and gets a
    certificate for it. Other users of this machine can see arguments while a
    command runs: a file, or - for standard input, hides the invitation.
    Without --listen the peer listens on port 7700 of the address from which
    this machine reaches the enrolment, and swarm.toml says so; on the founder's
    machine on another port, which is printed.
    """
    site = Site(identity_directory(identity))
    ways = [each for each in (invitation, reply, make_request, certificate) if each is not None]
    if len(ways) != 1:
        raise ConfigurationError(_ONE_OF)
    if reply is not None:
        accepted(site.accept(read_reply(files.read(reply))))
    elif make_request is not None:
        if name is None:
            raise ConfigurationError("--make-request needs the --name of this site")
        files.write(make_request, site.certificate_request(name))
        note(f"{make_request}: have your authority sign it, with {name} as common name and DNS name; the key is in")
        note(f"{site.waiting_directory} (SECRET); then: swarm join --certificate PEM --authority PEM")
    elif certificate is not None:
        if authority is None:
            raise ConfigurationError("--certificate needs --authority, the certificate of your authority")
        private = files.read_private(key) if key else None
        crl = files.read(revoked) if revoked else b""
        accepted(site.install(files.read(certificate), files.read(authority), key=private, revoked=crl))
    else:
        _use(site, _invitation(invitation or ""), listen, advertise, request)


def _use(site: Site, invited: Invitation, listen: str | None, advertise: str | None, request: Path | None) -> None:
    refuse_existing(site.directory, "an identity")
    site.refuse_expired(invited)  # before it is found that nobody answers any more
    here = place(listen, advertise)
    if request is not None:
        write_request(request, site.enrolment(invited, here.address(None)), "join")
        here.store()
        return
    chosen = here

    def made(own_host: str) -> bytes:
        nonlocal chosen
        if here.listen is None:
            port = _port(invited, own_host)
            chosen = Place(str(Address(own_host, port)), here.advertise)
        return site.enrolment(invited, chosen.address(own_host))

    reply = ask(invited.addresses, invited.pin, made, proxies=proxies())
    own = site.accept(reply)
    chosen.store()
    accepted(own)


def _port(invited: Invitation, own_host: str) -> int:
    """What the peer listens on. On the founder's machine it follows from the name: it is the same when asked again."""
    if not any(own_host in _ips(Address.parse(each)) for each in invited.addresses):
        return PORT
    port = PORTS_BESIDE[zlib.crc32(invited.name.encode()) % len(PORTS_BESIDE)]
    note(f"this is the founder's machine, whose own peer may listen on port {PORT}: {invited.name} gets port {port}")
    note("--listen HOST:PORT chooses another")
    return port


def _ips(address: Address) -> set[str]:
    """The IP addresses of a host, none where its name is not known."""
    with suppress(OSError):
        return {str(place[0]) for *_, place in socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM)}
    return set()


def accepted(own: Identity) -> None:
    """Tell whose identity was installed."""
    until = day(own.certificate.not_after)
    note(f"{own.directory}: the identity of {own.name}, SECRET; its certificate is valid until {until}")
    if own.document is None:
        note("its authority's certificates are trusted; any peer that has one may take part")
        return
    member = own.member(own.name)
    others = ", ".join(f"{each.name} at {each.address or '?'}" for each in own.document.members if each != member)
    note(f"{own.name} is a member of consortium {own.document.name}: {member.role}, weight at most {member.weight}")
    note(f"others reach it at {member.address}; the other members: {others or 'none yet'}")
    note("next: swarm run -- python train.py")


def _invitation(given: str) -> Invitation:
    """The invitation that is given itself, or in a file or standard input."""
    if given == "-":
        return Invitation.parse(sys.stdin.read(MAX_TEXT + 1))
    if not given.startswith("swarm1-") and Path(given).is_file():
        return Invitation.parse(files.read(Path(given)).decode("ascii", errors="replace"))
    note("note: other users of this machine can see an invitation among the arguments; `swarm join -` reads it hidden")
    return Invitation.parse(given)

"""``swarm init``: found a consortium."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated

import typer

from swarm.addresses import Address, join
from swarm.cli.site import (
    CONSORTIUM,
    Advertise,
    ConsortiumOption,
    IdentityOption,
    Listen,
    day,
    identity_directory,
    note,
    place,
)
from swarm.config import SETTINGS
from swarm.config.granted import OF_A_SITE
from swarm.config.sources import nearest
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity.authority import Authority
from swarm.identity.certificates import checked_name
from swarm.identity.consortium import Allowed
from swarm.identity.directories import refuse_existing
from swarm.identity.site import Site

ENROLMENT_PORT = 7701


def init(
    consortium_name: Annotated[str, typer.Argument(metavar="[CONSORTIUM]", help="Name of the consortium.")] = "swarm",
    *,
    name: Annotated[str | None, typer.Option(help="Name of this site; default the host's name.")] = None,
    listen: Listen = None,
    advertise: Advertise = None,
    enrolment_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port that `swarm invite` listens on, at the peer's host.")
    ] = ENROLMENT_PORT,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING=VALUE[,VALUE]",
            help="Values of a setting that members may use; the first one is used where none is given.",
        ),
    ] = None,
    valid_days: Annotated[int, typer.Option(min=1, max=3650, help="Days for which a certificate is valid.")] = 365,
    consortium: ConsortiumOption = CONSORTIUM,
    identity: IdentityOption = None,
) -> None:
    """Found a consortium: its authority, and the identity of this site.

    [bold]swarm init heart --name paris --listen 10.0.0.1:7700[/]

    Makes swarm-consortium, which holds the authority's private key, and
    swarm-identity, which holds that of this site. Both are secret. Whoever has
    the authority's key decides who is a member: make a backup of it, offline.
    """
    member = checked_name(name or socket.gethostname().lower())
    allowed = policy(allow or [])
    here = place(listen, advertise)
    address = here.address(None)
    directory = identity_directory(identity)
    if consortium.exists() and not directory.exists():
        raise IdentityError(
            f"{consortium} is there already, and {directory} is not: if the identity of the founder is lost, "
            "`swarm renew` makes another; for another consortium, name other directories (--consortium, --identity)"
        )
    refuse_existing(consortium, "an authority")
    refuse_existing(directory, "an identity")
    made = Authority.create(
        consortium,
        consortium_name,
        founder=member,
        identity=directory,
        listen=join(Address.parse(here.listen or address).host, enrolment_port),
        address=join(Address.parse(address).host, enrolment_port),
        allowed=allowed,
        valid_days=valid_days,
    )
    own = Site(directory).found(made, address)
    here.store()
    note(f"consortium {consortium_name} is founded; {member} is its first member, at {address}")
    note(f"  {consortium}: the authority, SECRET; make an offline backup of it")
    until = day(own.certificate.not_after)
    note(f"  {directory}: the identity of {member}, SECRET; its certificate is valid until {until}")
    for setting, values in allowed.items():
        note(f"  members may use {setting} = {', '.join(map(str, values))}")
    note("next, for each other site: swarm invite NAME")


def policy(given: Sequence[str]) -> dict[str, tuple[Allowed, ...]]:
    """The values of ``--allow``, checked against the table of settings.

    Raises:
        ConfigurationError: a setting is unknown, given twice or of a kind that cannot be restricted, or a value is not
            allowed.
    """
    allowed: dict[str, tuple[Allowed, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigurationError(f"--allow {text!r} is not SETTING=VALUE[,VALUE]")
        if name not in SETTINGS:
            known = {each: each for each in SETTINGS}
            raise ConfigurationError(f"--allow: there is no setting {name!r}{nearest(name, known)}")
        if name in OF_A_SITE:
            raise ConfigurationError(f"--allow: {name} cannot be restricted, since each site has its own")
        if name in allowed:
            raise ConfigurationError(f"--allow gives {name} twice: give all of its values once, with commas")
        allowed[name] = tuple(_value(name, value) for value in values.split(","))
    return allowed


def _value(name: str, text: str) -> Allowed:
    check = SETTINGS[name].check
    try:
        value = (check.read or check.accept)(text.strip())
    except (ValueError, TypeError, OverflowError):
        raise ConfigurationError(f"--allow: {name}={text!r} is not allowed: allowed is {check.allowed}") from None
    if not isinstance(value, str | int | float | bool):
        raise IdentityError(f"--allow: {name} cannot be restricted, since it is no single number, word or switch")
    return value

"""``swarm invite``: invite a site, and take its request while the command runs."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from swarm.addresses import Address, is_wildcard, join, parse_advertised
from swarm.cli.site import CONSORTIUM, ConsortiumOption, authority, day, note
from swarm.config.sources import from_arguments
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity.authority import Answer, Authority
from swarm.identity.client import is_enrolment
from swarm.identity.consortium import Role
from swarm.identity.invitation import Invitation
from swarm.identity.server import EnrolmentServer
from swarm.records import MAX_WEIGHT

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST = timedelta(days=30)


def invite(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of the site; without it, only answer.")] = None,
    *,
    weight: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_WEIGHT, help="Largest node_weightage of the site; default: 100, or as it is."),
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="trainer (default, or as it is) takes part in rounds, observer only asks for the status."),
    ] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="Such as 30m, 24h or 7d; at most 30d.")] = "24h",
    again: Annotated[
        bool,
        typer.Option("--again", help="Invite a member that has lost its key; its earlier certificates are revoked."),
    ] = False,
    wait: Annotated[bool, typer.Option(help="Answer requests until the invitation is used or has expired.")] = True,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="What the enrolment listens on; default as in swarm init.")
    ] = None,
    advertise: Annotated[
        str | None, typer.Option(metavar="HOST[:PORT]", help="Where the invited site reaches the enrolment.")
    ] = None,
    consortium: ConsortiumOption = CONSORTIUM,
) -> None:
    """Invite a site: prints one line, which is a secret for that site.

    [bold]swarm invite berlin[/]

    Give the line to that site only, over a channel that you trust. Whoever has
    it can become the member, once. While this command runs it answers requests
    of all invited sites, and of members that renew their certificates. Without
    NAME it does only that, until Ctrl-C.
    """
    of = authority(consortium)
    valid, address = duration(expires), reached(of, listen, advertise)
    if name is None:
        if not wait:
            raise ConfigurationError("swarm invite --no-wait does nothing without the NAME of a site: give one")
        _answer(of, _open(of, listen), None)
        return
    server = None
    if wait:
        try:
            server = _open(of, listen)
        except IdentityError:
            if not is_enrolment(address, of.pin):
                raise
        else:
            address = reached(of, listen and server.address, advertise)
    with server or contextlib.nullcontext():
        made = of.invite(name, weight=weight, role=role, valid=valid, address=address, again=again)
        note(f"SECRET: the next line makes whoever has it the member {name}, once, until {day(made.expires)}")
        typer.echo(made.text())
        note(f"give it to {name} only; there: swarm join INVITATION")
        if server:
            _answer(of, server, made)
        elif wait:
            note(f"another `swarm invite` answers at {address}; this command ends")
        else:
            note("it can be used while `swarm invite` runs, or with files: swarm join --request, swarm sign")


def duration(text: str) -> timedelta:
    """A time such as 30m, 24h or 7d.

    Raises:
        ConfigurationError: it is none, or longer than 30 days.
    """
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", text.strip())
    time = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if not timedelta() < time <= _LONGEST:
        raise ConfigurationError(f"--expires {text!r} is not allowed: allowed is such as 30m, 24h or 7d, at most 30d")
    return time


def reached(of: Authority, listen: str | None, advertise: str | None) -> str:
    """``host:port`` where the invited site reaches the enrolment.

    Args:
        of: the authority.
        listen: what the enrolment listens on; None: as the register has it.
        advertise: the option.

    Raises:
        ConfigurationError: one of the two is not allowed.
    """
    found = Address.parse(of.register.address)
    host, port = found.host, found.port
    given = from_arguments({"listen": listen, "advertise": advertise})
    if "listen" in given:
        bound = Address.parse(given["listen"].value)
        host, port = host if is_wildcard(bound.host) else bound.host, bound.port
    if "advertise" in given:
        host, own_port = parse_advertised(given["advertise"].value)
        port = own_port or port
    return join(host, port)


def _open(of: Authority, listen: str | None) -> EnrolmentServer:
    return EnrolmentServer(of, Address.parse(listen or of.register.listen), joined=_tell_joined, refused=_tell_refused)


def _answer(of: Authority, server: EnrolmentServer, made: Invitation | None) -> None:
    waiting = of.register.outstanding(datetime.now(UTC))
    names = ", ".join(each.name for each in waiting) or "nobody"
    note(f"the enrolment is open at {server.address}; invited: {names}. Ctrl-C closes it")
    try:
        server.serve(lambda: made is not None and _is_over(of, made))
    except KeyboardInterrupt:
        note("the enrolment is closed; `swarm invite` opens it again, and invitations stay valid until they expire")
        return
    invited = of.register.invitation(made.number) if made else None
    if made and (invited is None or invited.used is None):
        raise IdentityError(f"the invitation for {made.name} was not used: it has expired, or was replaced or revoked")


def _is_over(of: Authority, made: Invitation) -> bool:
    return all(each.number != made.number for each in of.register.outstanding(datetime.now(UTC)))


def _tell_joined(answer: Answer, address: str) -> None:
    what = "has joined" if answer.joined else "has renewed its certificate"
    again = " (asked again)" if answer.repeated else ""
    note(f"{answer.name} {what} from {address}{again}; the certificate is valid until {day(answer.until)}")


def _tell_refused(address: str, reason: str) -> None:
    note(f"{address} got nothing: {reason}")

"""Options and files that the commands about identities share: where they are, and the place of this site's peer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from swarm.addresses import Address, is_wildcard, join, parse_advertised
from swarm.cli import options
from swarm.config.resolve import IDENTITY
from swarm.config.sources import FILE, FILE_VARIABLE, Value, from_arguments, from_environment, from_file
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity import files
from swarm.identity.authority import Authority
from swarm.identity.site import Site
from swarm.proxy import Proxies

CONSORTIUM = Path("swarm-consortium")

IdentityOption = Annotated[
    Path | None,
    typer.Option("--identity", metavar="DIR", help=f"Directory of this site's identity; default {IDENTITY}."),
]
ConsortiumOption = Annotated[
    Path, typer.Option("--consortium", metavar="DIR", help="Directory of the consortium's authority.")
]
RequestFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Without a network: write the request to FILE.")]
ReplyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Without a network: install the reply of `swarm sign`.")
]
Listen = Annotated[str | None, options.of_setting("listen", metavar="HOST:PORT")]
Advertise = Annotated[str | None, options.of_setting("advertise", metavar="HOST[:PORT]")]


def note(text: str) -> None:
    """Tell the user, on standard error."""
    typer.echo(text, err=True)


def day(time: datetime) -> str:
    """A date as the commands show it."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def identity_directory(given: Path | None) -> Path:
    """The directory of this site's identity: the option, else the setting `identity`, else the default."""
    found = configured().get("identity")
    return given or (Path(found.value) if found and found.value else IDENTITY)


def write_request(file: Path, request: bytes, command: str) -> None:
    """Write a request for ``swarm sign`` to a file, and tell how the reply comes back to ``command``."""
    files.write(file, request)
    note(f"{file}: carry it to where the consortium was founded; there: swarm sign {file.name}")
    note(f"then carry {file.name}.reply back; here: swarm {command} --reply {file.name}.reply")


def authority(directory: Path) -> Authority:
    """The consortium's authority.

    Raises:
        IdentityError: it is not at this site, or cannot be used.
    """
    if not directory.exists():
        raise IdentityError(
            f"there is no {directory} here: this command works where the consortium was founded (`swarm init`), in the "
            "same directory or with --consortium DIR"
        )
    return Authority(directory)


def tell_who_hands_on(of: Authority) -> None:
    """Tell how the other members get the newest version of the document."""
    if of.hand_to_founder():
        note(f"the peer of {of.register.founder} hands version {of.document.version} of the document to the others")
        note("if it does not run: swarm members --export FILE here, swarm members --import FILE at each other site")
    else:
        note(f"the identity of {of.register.founder} is not in {of.register.identity}: no peer hands the change on;")
        note("swarm members --export FILE here, swarm members --import FILE at each other site")


def founders_authority(directory: Path, site: Site) -> Authority | None:
    """The authority in ``directory``, if it is there and the identity of ``site`` is its founder's, or is not there."""
    if not directory.exists():
        return None
    found = Authority(directory)
    return found if not os.path.lexists(site.directory) or site.founded(found) else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the peer of this site listens, and where others reach it; checked."""

    listen: str | None
    advertise: str | None

    def address(self, own_host: str | None) -> str:
        """``host:port`` at which others reach the peer.

        Args:
            own_host: of this machine as the network shows it; None: not known.

        Raises:
            ConfigurationError: it does not follow from what is given.
        """
        listen = Address.parse(self.listen) if self.listen else None
        host, port = parse_advertised(self.advertise) if self.advertise else (None, None)
        if listen:
            port = port or listen.port
            host = host or (own_host if is_wildcard(listen.host) else listen.host)
        if not listen or not host or not port:
            raise ConfigurationError(
                "it is not known where others reach the peer of this site: give --listen HOST:PORT with a fixed port, "
                "and --advertise HOST:PORT if that is not what it listens on"
            )
        return join(host, port)

    def store(self) -> None:
        """Write the place into ``swarm.toml``; if that is there already, tell which lines to change."""
        wanted = {"listen": self.listen, "advertise": self.advertise}
        found = configured()
        lines = [
            f"{name} = {json.dumps(value)}"
            for name, value in wanted.items()
            if value and (name not in found or found[name].value != value)
        ]
        path = Path(os.environ.get(FILE_VARIABLE, "").strip() or FILE)
        if not lines:
            return
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write("\n".join(["[swarm]", *lines, ""]))
        except FileExistsError:
            note(f"{path} is there already: put these lines into its table [swarm]")
            for line in lines:
                note(f"  {line}")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
        else:
            note(f"wrote {path}: {', '.join(lines)}")


def place(listen: str | None, advertise: str | None, otherwise: str | None = None) -> Place:
    """The place that is given, else configured, else ``otherwise`` to listen on.

    Raises:
        ConfigurationError: it is not allowed.
    """
    found = {**configured(), **from_arguments({"listen": listen, "advertise": advertise})}
    values = {name: found[name].value if name in found else None for name in ("listen", "advertise")}
    return Place(values["listen"] or otherwise, values["advertise"])


def configured() -> Mapping[str, Value]:
    """What ``swarm.toml`` and the environment give."""
    return {**from_file(os.environ, Path()), **from_environment(os.environ)}


def proxies() -> Proxies:
    """For connections of a command: those of the settings, else of the environment."""
    found = configured().get("proxy")
    return Proxies(found.value if found else None)

"""What an authority keeps: whom it has invited, what it has issued, and its consortium's document; one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from swarm.errors import IdentityError
from swarm.identity import files
from swarm.identity.certificates import checked_name
from swarm.identity.consortium import Role, checked_weight
from swarm.text import printable

FORMAT = 1
KEPT = timedelta(days=30)
"""For so long after its end an invitation or a certificate stays in the register."""


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was handed out; its secret is not kept."""

    number: str
    key: bytes = field(repr=False)
    """What a request must be proved with."""
    name: str
    weight: int
    role: Role
    expires: datetime
    used: datetime | None = None
    used_by: str = ""
    """SHA-256 of the public key of which a certificate was issued, as hex digits."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued."""

    name: str
    serial: int
    until: datetime
    of: str
    """SHA-256 of its public key, as hex digits."""


@dataclass(frozen=True, slots=True)
class Register:
    """One version of it."""

    founder: str
    """The member whose site has the authority."""
    identity: str
    """The directory of the founder's identity; absolute."""
    listen: str
    """``host:port`` that an enrolment listens on."""
    address: str
    """``host:port`` at which others reach an enrolment."""
    valid_days: int
    """Of a certificate."""
    document: bytes
    invited: tuple[Invited, ...] = ()
    issued: tuple[Issued, ...] = ()

    def invitation(self, number: str) -> Invited | None:
        """The invitation with this number."""
        return next((each for each in self.invited if each.number == number), None)

    def outstanding(self, now: datetime) -> list[Invited]:
        """The invitations that can be used."""
        return [each for each in self.invited if each.used is None and now < each.expires]

    def certificate_of(self, name: str, key: str) -> Issued | None:
        """The newest certificate that was issued to a member for the key with this SHA-256."""
        return next((each for each in reversed(self.issued) if (each.name, each.of) == (name, key)), None)

    def until(self, name: str) -> datetime | None:
        """When the last certificate of a member ends; None if there is none."""
        return max((each.until for each in self.issued if each.name == name), default=None)

    def without_old(self, now: datetime) -> Register:
        """Without what has ended long ago."""
        return replace(
            self,
            invited=tuple(each for each in self.invited if now < each.expires + KEPT),
            issued=tuple(each for each in self.issued if now < each.until + KEPT),
        )

    def encoded(self) -> bytes:
        """As it is stored.

        Raises:
            IdentityError: it has become too large.
        """
        content = asdict(self) | {
            "format": FORMAT,
            "document": self.document.decode("utf-8"),
            "invited": [
                asdict(each)
                | {"key": each.key.hex(), "expires": iso(each.expires), "used": each.used and iso(each.used)}
                for each in self.invited
            ],
            "issued": [asdict(each) | {"serial": f"{each.serial:x}", "until": iso(each.until)} for each in self.issued],
        }
        data = json.dumps(content, indent=1, sort_keys=True).encode("ascii") + b"\n"
        if len(data) > files.MAX_BYTES:
            raise IdentityError(
                f"the authority's register would have more than {files.MAX_BYTES} bytes: too many members, invitations "
                "and certificates; a larger consortium needs another public-key infrastructure"
            )
        return data


def read(data: bytes) -> Register:
    """The register in ``data``.

    Raises:
        IdentityError: it is none that this version of Swarm can read.
    """
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, this version of Swarm reads {FORMAT}")
        return Register(
            founder=checked_name(content["founder"]),
            identity=content["identity"],
            listen=content["listen"],
            address=content["address"],
            valid_days=content["valid_days"],
            document=content["document"].encode("utf-8"),
            invited=tuple(map(_invited, content["invited"])),
            issued=tuple(map(_issued, content["issued"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IdentityError(f"the authority's register cannot be read: {printable(str(error), 200)}") from error


def _invited(row: Mapping[str, Any]) -> Invited:
    return Invited(
        number=row["number"],
        key=bytes.fromhex(row["key"]),
        name=checked_name(row["name"]),
        weight=checked_weight(row["weight"]),
        role=Role(row["role"]),
        expires=datetime.fromisoformat(row["expires"]),
        used=datetime.fromisoformat(row["used"]) if row["used"] else None,
        used_by=row["used_by"],
    )


def _issued(row: Mapping[str, Any]) -> Issued:
    until = datetime.fromisoformat(row["until"])
    return Issued(checked_name(row["name"]), int(row["serial"], 16), until, row["of"])


def iso(time: datetime) -> str:
    """A time as the register and the document have it: ISO 8601, in whole seconds."""
    return time.isoformat(timespec="seconds")

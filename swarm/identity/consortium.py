"""The consortium's document: who its members are, what each may do, and who is revoked; signed by its authority.

Every member keeps the newest version that it has seen, and hands it on.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from swarm.addresses import MAX_LENGTH, Address
from swarm.errors import IdentityError
from swarm.identity.certificates import Key, canonical, checked_name, sign, signed_by
from swarm.records import MAX_WEIGHT
from swarm.text import printable

FORMAT = 1
MAX_BYTES = 256 * 2**10
"""Of a document."""
MAX_MEMBERS = 1000
MAX_REVOKED = 2000
MAX_ALLOWED = 300
"""Characters of a value of a setting."""
Allowed = str | int | float | bool


class Role(enum.StrEnum):
    """What a member may do."""

    TRAINER = "trainer"
    """Take part in rounds."""
    OBSERVER = "observer"
    """Ask for the status only."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member."""

    name: str
    weight: int = MAX_WEIGHT
    """The largest ``node_weightage`` that it may use, 0 to 100; of weights by samples, the largest share in percent."""
    role: Role = Role.TRAINER
    address: str = ""
    """``host:port`` where its peer listens, as far as known."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that counts no more."""

    name: str
    serial: int
    time: str
    """ISO 8601, in UTC."""


@dataclass(frozen=True, slots=True)
class Consortium:
    """What the authority has signed."""

    name: str
    version: int
    """Grows with every change."""
    issued: str
    """ISO 8601, in UTC."""
    members: tuple[Member, ...] = ()
    revoked: tuple[Revoked, ...] = ()
    allowed: Mapping[str, tuple[Allowed, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """By name of setting, the values that members may use; the first is used where a member gives none."""

    def member(self, name: str) -> Member | None:
        """The member of this name."""
        return next((member for member in self.members if member.name == name), None)

    def revocation(self, serial: int) -> Revoked | None:
        """The revocation of a certificate, if it is revoked."""
        return next((each for each in self.revoked if each.serial == serial), None)

    def signed(self, key: Key) -> bytes:
        """The document as it is stored and sent.

        Raises:
            IdentityError: it holds too much.
        """
        content = self._content()
        signature = base64.b64encode(sign(key, canonical(content))).decode("ascii")
        data = json.dumps({"consortium": content, "signature": signature}, indent=1, sort_keys=True).encode() + b"\n"
        read(data)  # what could not be read must not be written
        return data

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "issued": self.issued,
            "members": [
                {"name": each.name, "weight": each.weight, "role": each.role.value, "address": each.address}
                for each in self.members
            ],
            "revoked": [{"name": each.name, "serial": f"{each.serial:x}", "time": each.time} for each in self.revoked],
            "allowed": {name: list(values) for name, values in self.allowed.items()},
        }


def verified(data: bytes, authority: bytes) -> Consortium:
    """The document in ``data``, signed by the authority whose certificate is given in PEM.

    Raises:
        IdentityError: it is no document, or was not signed by this authority.
    """
    consortium, content, signature = read(data)
    if not signed_by(authority, canonical(content), signature):
        raise IdentityError(f"the document of consortium {consortium.name} was not signed by its authority")
    return consortium


def read(data: bytes) -> tuple[Consortium, dict[str, Any], bytes]:
    """The document in ``data``, its content as JSON, and its signature, which is not checked.

    Raises:
        IdentityError: it is no document that this version of Swarm can read.
    """
    if len(data) > MAX_BYTES:
        raise IdentityError(f"a consortium's document of {len(data)} bytes exceeds the limit of {MAX_BYTES}")
    try:
        outer = json.loads(data)
        content, signature = outer["consortium"], base64.b64decode(outer["signature"], validate=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, this version of Swarm reads {FORMAT}")
        return _parsed(content), content, signature
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise IdentityError(f"what should be a consortium's document is none: {printable(str(error), 200)}") from error


def checked_weight(value: object) -> int:
    """The weight that a document or a register grants.

    Raises:
        ValueError: it is none.
    """
    return _number(value, MAX_WEIGHT)


def _parsed(content: dict[str, Any]) -> Consortium:
    if len(content["members"]) > MAX_MEMBERS or len(content["revoked"]) > MAX_REVOKED:
        raise ValueError(f"more than {MAX_MEMBERS} members or {MAX_REVOKED} revocations")
    return Consortium(
        name=_text(content["name"]),
        version=_number(content["version"], 2**53),
        issued=_text(content["issued"]),
        members=tuple(
            Member(
                name=checked_name(each["name"]),
                weight=checked_weight(each["weight"]),
                role=Role(each["role"]),
                address=_address(each["address"]),
            )
            for each in content["members"]
        ),
        revoked=tuple(
            Revoked(checked_name(each["name"]), int(_text(each["serial"]), 16), _text(each["time"]))
            for each in content["revoked"]
        ),
        allowed=MappingProxyType(
            {_text(name): tuple(map(_allowed, values)) for name, values in _mapping(content["allowed"]).items()}
        ),
    )


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} where settings and their values belong")
    return value


def _allowed(value: object) -> Allowed:
    if (
        not isinstance(value, str | int | float | bool)
        or len(str(value)) > MAX_ALLOWED
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        raise ValueError(f"a setting cannot have the value {str(value)[:40]!r}")
    return value


def _address(value: object) -> str:
    """An address that all members can read; empty where none is known."""
    text = _text(value, MAX_LENGTH)
    if text:
        Address.reachable(text)
    return text


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} where a number from 0 to {most} belongs")
    return value


def _text(value: object, most: int = 128) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise ValueError(f"{str(value)[:40]!r} where a text of at most {most} printable characters belongs")
    return value

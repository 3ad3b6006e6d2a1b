"""What a site and its consortium's authority send each other: a request for a certificate, and the reply to it.

They are the same bytes over the network and in files that are carried by hand. A request proves who sends it: the first
by the key of an invitation (HMAC with SHA-256), a renewal by a signature of the current key. A reply needs no proof of
its own, since the authority has signed what is in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from swarm.addresses import MAX_LENGTH, Address
from swarm.errors import IdentityError
from swarm.identity import certificates
from swarm.identity.certificates import Key, canonical, checked_name
from swarm.text import MAX_SHOWN, printable

FORMAT = 1
MAX_REQUEST = 16 * 2**10
"""Bytes of a request."""
MAX_REPLY = 2**20
"""Bytes of a reply."""

_ENROLMENT, _RENEWAL = "swarm enrolment", "swarm renewal"
_MAX_FIELD = 8 * 2**10


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A site that was invited asks for its first certificate."""

    invitation: str
    """The number of the invitation."""
    name: str
    request: bytes
    """For a certificate (PKCS #10, PEM)."""
    address: str
    """``host:port`` at which other peers reach this one."""
    proof: bytes
    """That the sender has the invitation."""

    @classmethod
    def made(cls, key: bytes, *, invitation: str, name: str, request: bytes, address: str) -> Enrolment:
        """A request with its proof; ``key`` is that of the invitation."""
        unproved = cls(invitation, name, request, address, b"")
        return cls(invitation, name, request, address, unproved._mac(key))

    def proved(self, key: bytes) -> bool:
        """Whether the sender has the invitation with this key."""
        return hmac.compare_digest(self._mac(key), self.proof)

    def encoded(self) -> bytes:
        """As it is sent."""
        return canonical(self._content() | {"proof": _text(self.proof)})

    def _mac(self, key: bytes) -> bytes:
        return hmac.digest(key, canonical(self._content()), hashlib.sha256)

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": _ENROLMENT,
            "invitation": self.invitation,
            "name": self.name,
            "request": self.request.decode("ascii"),
            "address": self.address,
        }


@dataclass(frozen=True, slots=True)
class Renewal:
    """A member asks for a new certificate of another key."""

    certificate: bytes
    """The current one, in PEM."""
    request: bytes
    """For the new one (PKCS #10, PEM)."""
    address: str
    """A new ``host:port`` of the peer; empty where it stays."""
    proof: bytes
    """The signature of the current key."""

    @classmethod
    def made(cls, key: Key, *, certificate: bytes, request: bytes, address: str) -> Renewal:
        """A request with its proof; ``key`` is the current one."""
        unproved = cls(certificate, request, address, b"")
        return cls(certificate, request, address, certificates.sign(key, canonical(unproved._content())))

    def proved(self) -> bool:
        """Whether the sender has the key of the current certificate."""
        return certificates.signed_by(self.certificate, canonical(self._content()), self.proof)

    def encoded(self) -> bytes:
        """As it is sent."""
        return canonical(self._content() | {"proof": _text(self.proof)})

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": _RENEWAL,
            "certificate": self.certificate.decode("ascii"),
            "request": self.request.decode("ascii"),
            "address": self.address,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """What a site gets; it verifies all of it against the authority's certificate that it knows of."""

    certificate: bytes
    """In PEM."""
    authority: bytes
    """The authority's certificate, in PEM."""
    document: bytes
    """The consortium's document."""

    def encoded(self) -> bytes:
        """As it is sent."""
        return canonical(
            {
                "format": FORMAT,
                "certificate": self.certificate.decode("ascii"),
                "authority": self.authority.decode("ascii"),
                "document": self.document.decode("utf-8"),
            }
        )


def read_request(data: bytes) -> Enrolment | Renewal:
    """The request in ``data``; its proof is not checked.

    Raises:
        IdentityError: it is none, or too large.
    """
    try:
        content = _content(data, MAX_REQUEST)
        address = _field(content, "address", MAX_LENGTH)
        request = _field(content, "request").encode("ascii")
        proof = base64.b64decode(_field(content, "proof", 200), validate=True)
        if content["kind"] == _RENEWAL:
            if address:
                Address.reachable(address)
            return Renewal(_field(content, "certificate").encode("ascii"), request, address, proof)
        if content["kind"] != _ENROLMENT:
            raise ValueError("it is of an unknown kind")
        Address.reachable(address)
        name = checked_name(_field(content, "name", 64))
        return Enrolment(_field(content, "invitation", 16), name, request, address, proof)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise IdentityError(f"this is no request of a site: {printable(str(error), 200)}") from error


def read_reply(data: bytes) -> Reply:
    """The reply in ``data``; nothing in it is verified.

    Raises:
        IdentityError: it is none, or says why there is no certificate.
    """
    try:
        content = _content(data, MAX_REPLY)
        refusal = content.get("refusal")
        if refusal is None:
            return Reply(
                _field(content, "certificate").encode("ascii"),
                _field(content, "authority").encode("ascii"),
                _field(content, "document", MAX_REPLY).encode("utf-8"),
            )
        refusal = _field(content, "refusal")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IdentityError(f"this is no reply of an authority: {printable(str(error), 200)}") from error
    raise IdentityError(f"the authority refuses: {printable(refusal, MAX_SHOWN)}")


def refusal(reason: str) -> bytes:
    """A reply that says why there is no certificate."""
    return canonical({"format": FORMAT, "refusal": printable(reason, MAX_SHOWN)})


def _content(data: bytes, most: int) -> dict[str, Any]:
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    content = json.loads(data)
    if not isinstance(content, dict):
        raise TypeError("it is no JSON object")
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {str(content['format'])[:20]!r}, this version of Swarm reads {FORMAT}")
    return content


def _field(content: dict[str, Any], name: str, most: int = _MAX_FIELD) -> str:
    value = content[name]
    if not isinstance(value, str) or len(value) > most:
        raise TypeError(f"{name!r} is no text of at most {most} characters")
    return value


def _text(proof: bytes) -> str:
    return base64.b64encode(proof).decode("ascii")

"""An invitation: one line of text with which one site joins a consortium, once. Whoever has it can use it.

The line is ``swarm1-`` and, in base64 without padding (RFC 4648, section 5): the format (1 byte), the expiry (4 bytes,
seconds since 1970), the secret (16 bytes), the SHA-256 of the authority's certificate (32 bytes), how many texts follow
(1 byte), the member's name and the addresses of the enrolment (each with its length in 1 byte), a CRC-32 of all that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from swarm.addresses import Address
from swarm.errors import IdentityError
from swarm.identity.certificates import checked_name

PREFIX = "swarm1-"
FORMAT = 1
SECRET_BYTES = 16
MAX_ADDRESSES = 4
MAX_TEXT = 2048
"""Characters of an invitation."""

_HEAD = struct.Struct(f">BI{SECRET_BYTES}s32sB")
_CHECK = struct.Struct(">I")
_WORDS = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an invitation tells the site that is invited."""

    name: str
    """Of the member."""
    expires: datetime
    """In UTC, whole seconds."""
    pin: bytes
    """SHA-256 of the authority's certificate."""
    addresses: tuple[str, ...]
    """``host:port`` where the enrolment is."""
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, name: str, expires: datetime, pin: bytes, addresses: Sequence[str]) -> Invitation:
        """An invitation with a new secret.

        Raises:
            IdentityError: a name or an address is not allowed, or there are too many.
        """
        made = cls(name, expires.replace(microsecond=0), pin, tuple(addresses), secrets.token_bytes(SECRET_BYTES))
        return cls.parse(made.text())  # what could not be read must not be handed out

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """The invitation in a text; white space in it counts for nothing.

        Raises:
            IdentityError: it is none, or damaged.
        """
        words = "".join(text.split()) if len(text) <= MAX_TEXT else ""
        if not words.startswith(PREFIX):
            raise IdentityError(f"this is no invitation: one begins with {PREFIX!r} and is one line, `swarm invite`'s")
        try:
            found = _parsed(words.removeprefix(PREFIX))
            if found.text() != words:
                raise ValueError("not as it was made")
            return found
        except (ValueError, struct.error, IdentityError) as error:
            raise IdentityError("the invitation is damaged: copy the whole line again") from error

    def text(self) -> str:
        """The line. It is a secret."""
        words = [word.encode("utf-8") for word in (self.name, *self.addresses)]
        if any(len(word) > 255 for word in words):
            raise IdentityError("a name or an address is too long for an invitation")
        head = _HEAD.pack(FORMAT, int(self.expires.timestamp()), self.secret, self.pin, len(words))
        data = head + b"".join(bytes([len(word)]) + word for word in words)
        return PREFIX + base64.urlsafe_b64encode(data + _CHECK.pack(zlib.crc32(data))).rstrip(b"=").decode("ascii")

    @property
    def number(self) -> str:
        """Tells this invitation from others, and nothing of its secret; 16 hex digits."""
        return _derived(self.secret, b"swarm invitation: number").hex()[:16]

    @property
    def key(self) -> bytes:
        """The key that proves, in a request, that the sender has this invitation; 32 bytes."""
        return _derived(self.secret, b"swarm invitation: key")


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, hashlib.sha256)


def _parsed(words: str) -> Invitation:
    if not _WORDS.fullmatch(words):
        raise ValueError("another character than those of base64")
    data = base64.urlsafe_b64decode(words + "=" * (-len(words) % 4))
    content, check = data[: -_CHECK.size], data[-_CHECK.size :]
    form, expires, secret, pin, count = _HEAD.unpack_from(content)
    if _CHECK.unpack(check)[0] != zlib.crc32(content) or form != FORMAT or not 2 <= count <= MAX_ADDRESSES + 1:
        raise ValueError("damaged")
    at, texts = _HEAD.size, []
    for _ in range(count):
        length = content[at] if at < len(content) else 0
        texts.append(content[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    if at != len(content):
        raise ValueError("of another length")
    for address in texts[1:]:
        Address.reachable(address)
    return Invitation(checked_name(texts[0]), datetime.fromtimestamp(expires, UTC), pin, tuple(texts[1:]), secret)

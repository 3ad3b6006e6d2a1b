"""The keys with which processes sign what they say about a round (Ed25519, RFC 8032)."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Protocol

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

REMEMBERED = 4096
"""Signatures that were found to be right: a vote that was checked is not checked again in a certificate."""


class Signer(Protocol):
    """The key of one process, and the check of what others have signed; the simulation has a cheaper one."""

    @property
    def key(self) -> str:
        """The public key, as hexadecimal digits."""

    def sign(self, statement: bytes) -> str:
        """The signature of ``statement``, as hexadecimal digits."""

    def verify(self, key: str, statement: bytes, signature: str) -> bool:
        """Whether the owner of ``key`` has signed ``statement``."""


class ProcessKey(Signer):
    """A key that is made now, kept in memory and never written: with the process ends what it can sign."""

    def __init__(self) -> None:
        self._private = SigningKey.generate()
        self._key = bytes(self._private.verify_key).hex()
        self._right: OrderedDict[tuple[str, bytes, str], None] = OrderedDict()

    @property
    def key(self) -> str:
        return self._key

    def sign(self, statement: bytes) -> str:
        signature = self._private.sign(statement).signature.hex()
        self._remember((self._key, statement, signature))
        return signature

    def verify(self, key: str, statement: bytes, signature: str) -> bool:
        said = key, statement, signature
        if said in self._right:
            return True
        right = verify(key, statement, signature)
        if right:
            self._remember(said)
        return right

    def _remember(self, said: tuple[str, bytes, str]) -> None:
        self._right[said] = None
        if len(self._right) > REMEMBERED:
            self._right.popitem(last=False)


def verify(key: str, statement: bytes, signature: str) -> bool:
    """Whether the owner of ``key`` (64 hexadecimal digits) has signed ``statement``; False if either is none at all."""
    try:
        _public(key).verify(statement, bytes.fromhex(signature))
    except (CryptoError, ValueError):
        return False
    return True


@lru_cache(maxsize=1024)
def _public(key: str) -> VerifyKey:
    return VerifyKey(bytes.fromhex(key))

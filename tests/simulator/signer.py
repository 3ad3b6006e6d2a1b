"""Signatures that cost little: a process signs with its own key only, also one that lies."""

from __future__ import annotations

import hashlib

from swarm.certification.keys import Signer


class CheapSigner(Signer):
    """Signs with a hash over its public key, which every process could forge and none does."""

    def __init__(self, process: str) -> None:
        self._key = hashlib.sha256(process.encode()).hexdigest()

    @property
    def key(self) -> str:
        return self._key

    def sign(self, statement: bytes) -> str:
        return _signature(self._key, statement)

    def verify(self, key: str, statement: bytes, signature: str) -> bool:
        return signature == _signature(key, statement)


def _signature(key: str, statement: bytes) -> str:
    return hashlib.blake2b(statement, key=key.encode(), digest_size=64).hexdigest()

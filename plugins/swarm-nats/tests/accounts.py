"""An operator of NATS with one account, as `nsc` makes them: signed claims for a server, and files for its users."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys

UNLIMITED = -1
LIMITS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), UNLIMITED)
STORAGE = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), UNLIMITED)


class Operator:
    """Signs an account, and the users of it."""

    def __init__(self) -> None:
        self._operator, self._account = _key(nkeys.PREFIX_BYTE_OPERATOR), _key(nkeys.PREFIX_BYTE_ACCOUNT)

    def config(self) -> str:
        """Lines for a server that lets in the users of the account only."""
        operator = _signed(self._operator, self._operator, "heart", {"type": "operator"})
        limits = {**LIMITS, **STORAGE, "wildcards": True}
        account = _signed(self._operator, self._account, "sites", {"type": "account", "limits": limits})
        key = _key(nkeys.PREFIX_BYTE_ACCOUNT)
        system = _signed(self._operator, key, "system", {"type": "account", "limits": {**LIMITS, "wildcards": True}})
        name, of_server = self._account.public_key.decode(), key.public_key.decode()
        return (
            f"operator: {operator}\nsystem_account: {of_server}\nresolver: MEMORY\n"
            f"resolver_preload: {{ {name}: {account}, {of_server}: {system} }}\n"
        )

    def credentials(self, path: Path, *allowed: str) -> Path:
        """Write the file of a new user, who may use the subjects ``allowed``, or all where none is given."""
        user = _key(nkeys.PREFIX_BYTE_USER)
        rights = {"pub": {"allow": list(allowed)}, "sub": {"allow": list(allowed)}} if allowed else {}
        limits = dict.fromkeys(("subs", "data", "payload"), UNLIMITED)
        token = _signed(self._account, user, path.stem, {"type": "user", **limits, **rights})
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return path


def _key(kind: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))


def _signed(issuer: Any, subject: Any, name: str, claims: dict[str, Any]) -> str:
    """A token in the second version of NATS's format."""
    body = {
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "name": name,
        "sub": subject.public_key.decode(),
        "nats": {**claims, "version": 2},
    }
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    parts = [_encoded({"typ": "JWT", "alg": "ed25519-nkey"}), _encoded(body)]
    signature = issuer.sign(".".join(parts).encode())
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

"""What is signed: the hash of a record, and the bytes of each statement about a round.

Every statement names its purpose, the session, and the lineage, round and attempt that it is about, so that no
signature stands for anything else. The encoding is JSON without spaces and with sorted keys: one value, one text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from swarm.records import LEFT_OUT, Attempt, Commit, ContributionStats, PeerId

VERSION = "swarm/3"
"""Begins every statement, with the version of the protocol that defined its form."""


def canonical(value: Any) -> bytes:
    """The one encoding of a value of strings, numbers, None, lists and dictionaries."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def plain(value: Any) -> Any:
    """A value of frozen records and tuples as dictionaries and lists, without what is None and ``LEFT_OUT``."""
    if type(value) is tuple:
        return [plain(each) for each in value]
    names = _field_names(type(value))
    if not names:
        return value
    absent = left_out(type(value))
    return {
        name: plain(found)
        for name in names
        if (found := getattr(value, name)) is not None or not absent or name not in absent
    }


_NAMES: dict[type, tuple[str, ...]] = {}


def _field_names(kind: type) -> tuple[str, ...]:
    """The fields of a frozen record; none of any other type."""
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
    return names


_LEFT_OUT: dict[type, frozenset[str]] = {}


def left_out(kind: type) -> frozenset[str]:
    """The fields of a frozen record that are not written where they are None."""
    names = _LEFT_OUT.get(kind)
    if names is None:
        names = _LEFT_OUT[kind] = frozenset(field.name for field in fields(kind) if field.metadata.get(LEFT_OUT))
    return names


@lru_cache(maxsize=256)
def record_hash(record: Commit) -> str:
    """SHA-256 of a record without its certificate, as 64 hexadecimal digits."""
    content = plain(record)
    del content["certificate"]
    return hashlib.sha256(canonical(content)).hexdigest()


def accept_statement(session: str, lineage: str, round_: int, attempt: Attempt, record: str) -> bytes:
    """A voter accepts the record with this hash in this attempt."""
    return _statement("accept", session, lineage, round_, attempt, record)


def ready_statement(session: str, lineage: str, round_: int, attempt: Attempt, record: str) -> bytes:
    """A member of the group holds the model of the record with this hash, and has computed the record itself."""
    return _statement("ready", session, lineage, round_, attempt, record)


def prepare_statement(session: str, lineage: str, round_: int, attempt: Attempt) -> bytes:
    """A leader asks for promises to its attempt."""
    return _statement("prepare", session, lineage, round_, attempt, None)


def promise_statement(
    session: str, lineage: str, round_: int, attempt: Attempt, accepted: Attempt | None, record: str
) -> bytes:
    """A voter answers no attempt below this one, and has accepted this record before, or none."""
    return _statement("promise", session, lineage, round_, attempt, [_of(accepted), record])


def offer_statement(
    session: str, lineage: str, previous: str, stats: ContributionStats, gone: tuple[PeerId, ...], key: str
) -> bytes:
    """A peer offers a contribution to the round after the record with the hash ``previous``."""
    return canonical([VERSION, "offer", session, lineage, previous, plain(stats), list(gone), key])


def credential_statement(session: str, peer: PeerId, key: str) -> bytes:
    """The owner of a certificate signs with this key in this session."""
    return canonical([VERSION, "key", session, peer, key])


def head_statement(session: str, peer: PeerId, count: int, link: str, settings: tuple[str, ...] = ()) -> bytes:
    """The ledger of a peer has so many rows, the last one has this link, and these are settings of its runs."""
    return canonical([VERSION, "ledger", session, peer, count, link, *settings])


def _statement(purpose: str, session: str, lineage: str, round_: int, attempt: Attempt, subject: Any) -> bytes:
    return canonical([VERSION, purpose, session, lineage, round_, _of(attempt), subject])


def _of(attempt: Attempt | None) -> Any:
    return None if attempt is None else [attempt.counter, attempt.leader]

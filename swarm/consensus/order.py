"""Who leads: an order that every peer computes alone, so that no election is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from swarm.records import Attempt, PeerId


def leader_order(session: str, round_: int, members: Iterable[PeerId]) -> tuple[PeerId, ...]:
    """``members`` sorted by a hash of session, round and name: the n-th leads counter n, then it starts over."""

    def rank(peer: PeerId) -> tuple[bytes, PeerId]:
        return hashlib.sha256(f"{session}\0{round_}\0{peer}".encode()).digest(), peer

    return tuple(sorted(members, key=rank))


def first_attempt(session: str, round_: int, members: Iterable[PeerId]) -> Attempt:
    """The lowest attempt of a round. Its leader need not ask what was accepted before, for nothing can be."""
    return Attempt(0, leader_order(session, round_, members)[0])


def next_attempt(
    session: str, round_: int, members: Iterable[PeerId], above: Attempt, able: Iterable[PeerId]
) -> Attempt | None:
    """The lowest attempt above ``above`` whose leader is one of ``able``; None where no member is."""
    order = leader_order(session, round_, members)
    candidates = set(able)
    for counter in range(above.counter + 1, above.counter + 1 + len(order)):
        leader = order[counter % len(order)]
        if leader in candidates:
            return Attempt(counter, leader)
    return None


def new_lineage(*parts: object) -> str:
    """A lineage's id: a hash over what makes it unique."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def majority(members: Iterable[PeerId], present: Iterable[PeerId]) -> bool:
    """Whether more than half of ``members`` are ``present``."""
    all_members = set(members)
    return 2 * len(all_members & set(present)) > len(all_members)

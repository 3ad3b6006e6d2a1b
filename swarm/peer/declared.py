"""What each peer has declared on joining: that stands until the peer is another process."""

from __future__ import annotations

from dataclasses import fields, replace

from swarm.messages import MAX_PEERS, Hello
from swarm.records import PeerId, PeerInfo


class Declared:
    """The first greeting of the last process of each peer."""

    def __init__(self) -> None:
        self._first: dict[PeerId, tuple[str, str, PeerInfo]] = {}
        """Incarnation, key to sign with, and the rest."""

    def change(self, hello: Hello) -> str:
        """What a process declares that had declared something else; empty if it is another process, or says the same.

        A process that was started anew has another incarnation and another key. Who keeps one of them is the same.
        """
        before, key, theirs = self._first.get(hello.peer.name), _key(hello), _facts(hello)
        if before is None or (hello.peer.incarnation != before[0] and key != before[1]):
            return ""
        if key != before[1]:
            return "another key to sign with"
        other = {each.name for each in fields(PeerInfo) if getattr(theirs, each.name) != getattr(before[2], each.name)}
        weight = [f"weight {theirs.weight} in place of {before[2].weight}"] if "weight" in other else []
        return " and ".join([*weight, *(f"other {name}" for name in sorted(other - {"weight"}))])

    def met(self, hello: Hello) -> str:
        """The peer has joined with this greeting; what it had declared before as another process, if it differs."""
        peer = hello.peer
        before = self._first.pop(peer.name, None)
        if len(self._first) >= MAX_PEERS:
            del self._first[next(iter(self._first))]
        self._first[peer.name] = peer.incarnation, _key(hello), _facts(hello)
        changed = before is not None and before[2].weight != peer.weight
        return f"weight {peer.weight} in place of {before[2].weight}" if before and changed else ""


def _key(hello: Hello) -> str:
    return hello.credential.key if hello.credential else ""


def _facts(hello: Hello) -> PeerInfo:
    """Without the place of the process, which the roster compares."""
    return replace(hello.peer, incarnation="", address="")

"""What happened, as lines with a time: what peers warn of, and what the page sees by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from swarm_dashboard.reading import Fields, count, number, text
from swarm_dashboard.versioned import Versioned, Versions

if TYPE_CHECKING:
    from swarm_dashboard.peers import Peer

MOST_EVENTS = 500
MOST_NAMES = 5
MOST_REMEMBERED = 2000
"""Warnings that are recognised when they are told again."""
AWAY = frozenset({"gone", "not answering"})


class Events:
    """The last events of a session."""

    def __init__(self, versions: Versions) -> None:
        self.all: deque[Versioned] = deque(maxlen=MOST_EVENTS)
        self._versions = versions
        self._seen: deque[tuple[str, str]] = deque(maxlen=MOST_REMEMBERED)

    def add(self, time: float, what: str, *, peer: str = "", warning: bool = False) -> None:
        """Note an event; ``peer`` is whom it is about or who tells it."""
        event = {"time": time, "peer": peer, "text": what, "warning": warning}
        self.all.append(Versioned(self._versions.next(), event))

    def warnings(self, peer: str, told: Iterable[Fields]) -> None:
        """What a peer warns of; most of it was told before."""
        for each in told:
            key = peer, f"{number(each, 'time')} {text(each, 'text')}"
            if key not in self._seen:
                self._seen.append(key)
                self.add(number(each, "time") or 0.0, text(each, "text"), peer=peer, warning=True)

    def came(self, names: Sequence[str], now: float) -> None:
        """These peers were seen for the first time."""
        shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
        if names:
            self.add(
                now, f"{shown} {'is' if len(names) == 1 else 'are'} there", peer=names[0] if len(names) == 1 else ""
            )

    def changed(self, peer: Peer, state: str, now: float) -> None:
        """A peer gets another state: say so, unless it is one of those of every round."""
        before, name = peer.state, peer.name
        if not before:
            return
        if state in AWAY:
            if before not in AWAY:
                self.add(
                    now, f"{name} is gone" if state == "gone" else f"{name} does not answer", warning=True, peer=name
                )
        elif before in AWAY:
            self.add(now, f"{name} is back after {now - peer.since:.0f} s", peer=name)
        elif state == "left":
            self.add(now, f"{name} has left", peer=name)
        elif state == "closed":
            self.add(now, f"{name} has the closing model of round {count(peer.status, 'round')}", peer=name)
        elif state.startswith("finished") and not before.startswith("finished"):
            self.add(now, f"{name} has finished its own training", peer=name)

    def ended(self, peer: Peer, state: str, result: Fields, now: float) -> None:
        """The process of a peer has ended."""
        if state != "done":
            self.add(now, f"{peer.name}: {state}", peer=peer.name, warning=True)
        elif result.get("closing") is True:
            self.add(now, f"{peer.name} ended with the closing model of round {count(result, 'round')}", peer=peer.name)
        else:
            why = text(result, "reason") or "it ended without leaving the session"
            self.add(now, f"{peer.name} ended without a closing model: {why}", peer=peer.name, warning=True)

"""What the journals of all peers together show about rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from benchmarks.fleet.journal import Event, What

Key = tuple[str, int]
"""Lineage and number of a round."""


def recovery(events: Iterable[Event], at: float, others: frozenset[str], *, without: str | None) -> float | None:
    """Seconds that a fault at ``at`` cost the others.

    It ends when the last of ``others`` in the first group that commits has loaded the model. It begins with the fault
    or with the last offer of the others, whichever is later: before that offer the fault costs nothing. Rounds with the
    victim in the group do not count if it is ``without``.

    Args:
        events: of all peers.
        at: when the fault was injected.
        others: the peers other than the victim.
        without: the victim, if the others must go on without it.

    Returns:
        None if there is no such round yet.
    """
    rounds: dict[Key, dict[str, Event]] = defaultdict(dict)
    for event in sorted(events, key=lambda event: event.at):
        if event.what is What.ROUND and event.at > at and without not in event.group:
            rounds[event.lineage, event.round][event.peer] = event
    for committed in rounds.values():
        group = others.intersection(*(event.group for event in committed.values()))
        if group and group <= committed.keys():
            commit = max(committed[peer].at for peer in group)
            return commit - max(at, *(committed[peer].offered for peer in group))
    return None


def diverged(events: Iterable[Event]) -> list[str]:
    """A sentence for each round whose model differs between peers, and one if the closing models differ."""
    digests: dict[Key, dict[str, str]] = defaultdict(dict)
    closing: dict[str, str] = {}
    for event in events:
        if event.what is What.ROUND:
            digests[event.lineage, event.round].setdefault(event.digest, event.peer)
        elif event.what is What.CLOSED and event.closing:
            closing[event.peer] = event.digest
    found = [
        f"round {number} of lineage {lineage}: {holders}"
        for (lineage, number), holders in digests.items()
        if len(holders) > 1
    ]
    return found + ([f"closing models: {closing}"] if len({*closing.values()}) > 1 else [])


def lost(events: Sequence[Event]) -> list[Key]:
    """Rounds that a peer has committed and that are not in the last lineage, and gaps in that lineage."""
    commits = [event for event in events if event.what is What.ROUND]
    if not commits:
        return []
    final = max(commits, key=lambda event: event.at).lineage
    keys = {(event.lineage, event.round) for event in commits}
    numbers = sorted(number for lineage, number in keys if lineage == final)
    gaps = {*range(numbers[0], numbers[-1] + 1)} - {*numbers}
    return sorted(key for key in keys if key[0] != final) + [(final, number) for number in sorted(gaps)]


def mid_round(events: Iterable[Event], peer: str, at: float) -> bool:
    """Whether ``peer`` was exchanging weights at that time."""
    before = [event for event in events if event.peer == peer and event.at <= at]
    return bool(before) and max(before, key=lambda event: event.at).what is What.EXCHANGES


def period(events: Sequence[Event]) -> float:
    """Median seconds from one commit of a peer to its next; 0 if there are none."""
    times: Mapping[str, list[float]] = defaultdict(list)
    for event in events:
        if event.what is What.ROUND:
            times[event.peer].append(event.at)
    pauses = sorted(later - earlier for at in times.values() for earlier, later in pairwise(at))
    return pauses[len(pauses) // 2] if pauses else 0.0


def last_round(events: Iterable[Event]) -> int:
    """The highest number of a round at any peer; -1 if there is none."""
    return max((event.round for event in events if event.what is What.ROUND), default=-1)

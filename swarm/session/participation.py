"""Which sites took part in which rounds, and how many of their steps were merged: so that nobody is missed silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from swarm.certification.encoding import decode_record
from swarm.certification.statements import record_hash
from swarm.errors import LedgerError
from swarm.records import Commit, Participation, PeerId, RecordKind

if TYPE_CHECKING:
    import logging

    from swarm.messages import Entry
    from swarm.session.expected import Expected
    from swarm.storage.ledger import Head, Ledger


class Attended(NamedTuple):
    """What a session that is over had in all."""

    rounds: int = 0
    """Rounds that merged something, or closed the session."""
    sites: Mapping[PeerId, Participation] = MappingProxyType({})
    """The part of each site, by name."""
    head: Head | None = None
    """How far the ledger on disk goes; None without one."""


UNKNOWN = Attended()
"""Of a peer that trained alone, or left."""


NAMED = 20
"""Sites in one log line at most."""


@dataclass(slots=True)
class Attendance:
    """Who was in the committed rounds that this peer has seen, and how many of their steps were merged."""

    expected: Expected | None = None
    """Whom the session expects; None before this peer has joined."""
    away: dict[PeerId, int] = field(default_factory=dict)
    """Peers that took part before, or are expected, and do not now, with the first round without them, as far as this
    peer has seen."""
    steps: dict[PeerId, int] = field(default_factory=dict)
    """Merged steps of each site, in the rounds that this peer was in."""
    _seen: set[PeerId] = field(default_factory=set)

    def add(self, commit: Commit, entries: Sequence[Entry]) -> None:
        """A round is committed; ``entries`` are those of its proposal, empty if this peer does not know it."""
        for peer in commit.group:
            self.away.pop(peer, None)
        expected = self.expected
        for peer in (self._seen | (set() if expected is None else expected.others)) - {*commit.group}:
            self.away.setdefault(peer, commit.round)
        for peer in [peer for peer in self.away if expected is not None and not expected.admits(peer)]:
            del self.away[peer]
        self._seen.update(commit.group)
        merged = {*commit.contributors}
        for entry in entries:
            if entry.peer in merged and commit.round:
                self.steps[entry.peer] = self.steps.get(entry.peer, 0) + entry.steps


def attendance(
    ledger: Ledger, commit: Commit, steps: Mapping[PeerId, int], patience: float, expected: Collection[PeerId] = ()
) -> Attended:
    """The rounds up to ``commit``, and those of each site, from the ledger.

    Args:
        ledger: of this peer. It has all records, also of the rounds before this peer came.
        commit: the last one.
        steps: merged steps of each site.
        patience: seconds to wait for the disk.
        expected: names of peers that are listed also where they were in no round.

    Raises:
        LedgerError: it cannot be read.
    """
    record = record_hash(commit)
    head = ledger.stored(record, patience)
    rounds = 0
    seen: Counter[PeerId] = Counter(dict.fromkeys(expected, 0))
    for content in ledger.chain(record):
        each = decode_record(content)
        seen.update(dict.fromkeys(each.group, 0))
        if each.kind is not RecordKind.FOUNDING:
            rounds += 1
            seen.update(each.group)
    return Attended(rounds, {peer: Participation(seen[peer], steps.get(peer, 0)) for peer in sorted(seen)}, head)


def attended_by(
    ledger: Ledger | None,
    commit: Commit | None,
    steps: Mapping[PeerId, int],
    patience: float,
    logger: logging.Logger,
    expected: Collection[PeerId] = (),
) -> Attended:
    """The same; nothing, with a warning, if the ledger cannot be read, and nothing where there is none."""
    if commit is None or ledger is None:
        return UNKNOWN
    try:
        return attendance(ledger, commit, steps, patience, expected)
    except (LedgerError, ValueError) as error:
        logger.warning("the rounds of each site are not known, as the ledger cannot be read: %s", error)
        return UNKNOWN


def sentence(attended: Attended) -> str:
    """The log line on who took part in how many rounds, those with the fewest first."""
    sites = attended.sites
    order = sorted(sites, key=lambda peer: (sites[peer].rounds, peer))
    parts = [f"{peer} {sites[peer].rounds} ({sites[peer].steps} batches merged)" for peer in order[:NAMED]]
    more = f" and {len(order) - NAMED} more sites" if len(order) > NAMED else ""
    return f"sites and how many of the {attended.rounds} rounds each was in: {', '.join(parts)}{more}"


def without(away: Mapping[PeerId, int], told: Collection[PeerId]) -> str:
    """The phrase of a round's line on peers that are away for longer, except those that were ``told`` just now."""
    parts = [f"{peer} since round {since}" for peer, since in sorted(away.items()) if peer not in told]
    shown = ", ".join(parts[:NAMED]) + (f" and {len(parts) - NAMED} more" if len(parts) > NAMED else "")
    return f", without {shown}" if parts else ""


def absentees(
    group: Collection[PeerId], expected: int, members: Collection[PeerId], seen: Collection[PeerId] = ()
) -> str:
    """Who of the expected peers is not in a group; empty if all are.

    Args:
        group: those who are there.
        expected: how many peers were expected; 0 where that is unknown.
        members: their names, as far as they are known.
        seen: names of peers that have taken part, for where only a number is known.
    """
    if members:
        return ", ".join(sorted({*members} - {*group}))
    if expected <= len(group):
        return ""
    text = f"{expected - len(group)} of the {expected} expected"
    away = sorted({*seen} - {*group})
    return f"{text} (no longer there: {', '.join(away[:NAMED])})" if away else text

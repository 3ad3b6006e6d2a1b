"""Who is left out of rounds because attempts failed with it: for longer each time, and by rules that all peers share.

Members tell the whole group when they cannot finish an attempt, and whom they blame. Nobody can tell which of the two
is at fault, so blame counts against both: whoever is in dispute with more peers is left out, and of two that only have
a dispute with one another first the blamed one, then the other, in turns.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from swarm.consensus.timing import Timer
from swarm.records import Attempt, PeerId

FIRST = 2.0
"""Seconds for which a peer is left out at the first and the second strike."""
FACTOR = 4.0
"""By which it is longer at each further strike."""
MOST_FACTORS = 8
"""So often is it longer at most: no number gets too large."""
LONGEST = 600.0
BARRED = 3
"""Strikes from which on nobody waits for a peer while it is left out."""
REMOVED = 4
"""Strikes from which on it also counts as gone: it loses its membership, and the session may end without it."""
PAUSES = 4
"""Attempts that a peer may leave by itself, or lead at one round, until that counts as a strike: it may have been late
at its sync point, or others may have failed."""
FORGIVEN_AFTER = 8
"""Rounds with a peer after which one of its strikes is forgotten."""


NOBODY: frozenset[PeerId] = frozenset()


class Strikes:
    """One peer's account of all members, itself included."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._strikes: Counter[PeerId] = Counter()
        self._until: dict[PeerId, float] = {}
        self._paused_until: dict[PeerId, float] = {}
        self._disputes: defaultdict[PeerId, set[PeerId]] = defaultdict(set)
        """With whom each peer has been in dispute."""
        self._pairs: Counter[frozenset[PeerId]] = Counter()
        self._against: defaultdict[PeerId, Counter[PeerId]] = defaultdict(Counter)
        """The strikes that others have from disputes with each peer."""
        self._lately: defaultdict[PeerId, Counter[PeerId]] = defaultdict(Counter)
        """Those of this round."""
        self._pauses: Counter[PeerId] = Counter()
        self._led: Counter[PeerId] = Counter()
        """Attempts at this round that each peer has led."""
        self._nacks: Counter[PeerId] = Counter()
        """Exchanges of this round that have ended because of each peer, as a member follows another leader."""
        self._rounds: Counter[PeerId] = Counter()
        """Rounds with each peer since its last strike was given or forgotten."""
        self._accused: set[tuple[Attempt, PeerId]] = set()
        self._struck: set[tuple[Attempt, PeerId]] = set()

    def accuse(self, attempt: Attempt, accuser: PeerId, accused: PeerId) -> PeerId | None:
        """A member says that an attempt of this round cannot finish because of ``accused``, which may be itself.

        Returns:
            Who is left out; None if this accuser has been heard on this attempt.
        """
        if (attempt, accuser) in self._accused:
            return None
        self._accused.add((attempt, accuser))
        if accuser == accused:
            self._pause(attempt, accused)
            return accused
        pair = frozenset({accuser, accused})
        self._disputes[accuser].add(accused)
        self._disputes[accused].add(accuser)
        more = len(self._disputes[accuser]) - len(self._disputes[accused])
        blamed = accused if more < 0 or (more == 0 and self._pairs[pair] % 2 == 0) else accuser
        self._pairs[pair] += 1
        other = accuser if blamed == accused else accused
        if (attempt, blamed) not in self._struck:
            self._against[other][blamed] += 1
            self._lately[other][blamed] += 1
        self.strike(attempt, blamed)
        self._take_turns(out=blamed, other=other)
        return blamed

    def _take_turns(self, *, out: PeerId, other: PeerId) -> None:
        """Let the other one of a dispute in again if it has no other strikes: one that lies takes nobody with it."""
        if self._strikes[other] <= self._against[out][other]:
            self._until.pop(other, None)
            self._paused_until.pop(other, None)

    def gone(self, peer: PeerId, *, revoked: bool) -> None:
        """A peer cannot be reached any more: who was struck in this round for a dispute with it takes part again.

        Its streams may have ended before that was known. If it is ``revoked`` that holds for earlier rounds as well.
        """
        times = self._lately.pop(peer, Counter())
        if revoked:
            times = self._against.pop(peer, Counter())
        else:
            self._against[peer] -= times
        for other, count in times.items():
            self._strikes[other] = max(self._strikes[other] - count, 0)
            self._disputes[other].discard(peer)
            if revoked or not self._strikes[other]:  # else a second liar could leave again and again to free a first
                self._until.pop(other, None)
                self._paused_until.pop(other, None)

    def strike(self, attempt: Attempt, peer: PeerId) -> None:
        """An attempt has failed because of ``peer``; this counts once for each attempt."""
        if (attempt, peer) in self._struck:
            return
        self._struck.add((attempt, peer))
        self._strikes[peer] += 1
        self._rounds[peer] = 0
        seconds = FIRST * FACTOR ** min(max(self._strikes[peer] - 2, 0), MOST_FACTORS)
        self._until[peer] = self._timer.now + min(seconds, LONGEST)
        self._paused_until[peer] = self._timer.now + FIRST

    def late(self, leader: PeerId) -> None:
        """A leader came to no result in time; this counts once for each round."""
        self.strike(Attempt(-1, leader), leader)

    def nacks(self, peer: PeerId) -> bool:
        """An exchange of this round has ended as a member follows another leader; a peer would be at fault for that.

        Returns:
            Whether it has been before.
        """
        self._nacks[peer] += 1
        return self._nacks[peer] > 1

    def give_up(self, peer: PeerId) -> None:
        """A peer has been silent for too long: it counts as gone for ``LONGEST`` seconds."""
        self._strikes[peer] = max(self._strikes[peer], REMOVED)
        self._rounds[peer] = 0
        self._until[peer] = self._timer.now + LONGEST

    def has_led(self, peer: PeerId) -> bool:
        """Whether a peer has asked for promises in this round."""
        return self._led[peer] > 0

    def leads(self, attempt: Attempt) -> None:
        """A leader asks for promises to a new attempt of this round: one that does so again and again is at fault."""
        self._led[attempt.leader] += 1
        if self._led[attempt.leader] % PAUSES == 0:
            self.strike(attempt, attempt.leader)

    def _pause(self, attempt: Attempt, peer: PeerId) -> None:
        self._pauses[peer] += 1
        if self._pauses[peer] % PAUSES == 0:
            self.strike(attempt, peer)
        else:
            self._paused_until[peer] = self._timer.now + FIRST
            self._until[peer] = max(self._until.get(peer, 0.0), self._paused_until[peer])

    def caught_up(self) -> None:
        """This peer was behind: those who could take no part in its attempts were right, and pause no longer."""
        for peer in [peer for peer in self._paused_until if not self._strikes[peer]]:
            del self._paused_until[peer]
            self._until.pop(peer, None)
            self._pauses[peer] = 0

    def excluded(self) -> frozenset[PeerId]:
        """Peers that are left out for now."""
        if not self._until:
            return NOBODY
        return frozenset(peer for peer, until in self._until.items() if not self._timer.past(until))

    def fewest_first(self, peers: Collection[PeerId]) -> list[PeerId]:
        """``peers``, those with the fewest strikes first."""
        return sorted(peers, key=lambda peer: (self._strikes[peer], peer))

    def paused(self) -> frozenset[PeerId]:
        """Those of them that have made an attempt fail in the last ``FIRST`` seconds."""
        return frozenset(peer for peer, until in self._paused_until.items() if not self._timer.past(until))

    def struck(self) -> frozenset[PeerId]:
        """Those of these that have strikes: they did so more than once, or by a fault of their own."""
        return frozenset(peer for peer in self.paused() if self._strikes[peer])

    def barred(self) -> frozenset[PeerId]:
        """Those of them for which nobody waits."""
        if not self._until:
            return NOBODY
        return frozenset(peer for peer in self.excluded() if self._strikes[peer] >= BARRED)

    def removed(self) -> frozenset[PeerId]:
        """Those of them that count as gone."""
        if not self._until:
            return NOBODY
        return frozenset(peer for peer in self.excluded() if self._strikes[peer] >= REMOVED)

    def new_round(self, took_part: Collection[PeerId]) -> None:
        """A round is committed with these peers."""
        self._accused.clear()
        self._struck.clear()
        self._led.clear()
        self._nacks.clear()
        self._lately.clear()
        self._until = {peer: until for peer, until in self._until.items() if until > self._timer.now}
        self._paused_until = {peer: until for peer, until in self._paused_until.items() if until > self._timer.now}
        for peer in took_part:
            self._rounds[peer] += 1
            if self._strikes[peer] and self._rounds[peer] >= FORGIVEN_AFTER:
                self._rounds[peer] = 0
                self._strikes[peer] -= 1
                self._disputes[peer].clear()
                self._pauses[peer] = 0

"""How long weights are waited for: each wait ends, and a slow link alone does not end it."""

from __future__ import annotations

from collections.abc import Collection

from swarm.exchange.owed import Owed
from swarm.records import PeerId

USEFUL = 250_000
"""Bytes per second of a whole link, 2 Mbit/s: a peer whose weights move at least so fast is waited for."""
SLOWER = 1.5
"""A peer may take so many times as long as the others did, after them, also at a lower rate."""
TIMEOUTS = 3
"""Added to the longest time of a transfer, in units of ``failure_timeout``: for whatever takes time beside bytes."""


class Deadlines:
    """The time of one transfer from or to several peers. Each of them has one stream, over a link that all share.

    A peer that owes something is late

    - if nothing has come of it for ``timeout``,
    - if ``enough`` others have nothing left to do, it has had ``timeout`` and ``SLOWER`` times what they took since
      then, and what has come since then came more slowly than its part of ``USEFUL``,
    - or, whatever the others do, after ``TIMEOUTS`` time-outs and the time of all bytes at ``USEFUL``.

    Times are longer in later turns: a peer that waits for a late one gives up before those that wait for itself.

    Args:
        peers: the others.
        enough: of them, to compare the rest with.
        nbytes: upper bound on what moves over the link.
        now: it begins, in seconds of the clock that the other times are of.
    """

    def __init__(self, peers: Collection[PeerId], enough: int, nbytes: int, now: float) -> None:
        self._began = self._turn_began = now
        self._turn = 1
        self._peers = len(peers)
        self._enough = enough
        self._seconds = nbytes / USEFUL
        self._rate = USEFUL / max(len(peers), 1)
        self._heard = dict.fromkeys(peers, now)
        self._whole = dict.fromkeys(peers, 0)
        self._part = dict.fromkeys(peers, 0)
        """Of the frame on its way."""
        self._since: dict[PeerId, tuple[float, int]] = {}
        """Since when a peer is compared with the others, and how many bytes had come of it then."""

    def heard(self, peer: PeerId, now: float, part: int = 0) -> None:
        """Something of ``peer`` came: ``part`` bytes of a frame are here."""
        self._heard[peer], self._part[peer] = now, part

    def moved(self, peer: PeerId, nbytes: int, now: float) -> None:
        """A frame of ``peer`` is complete."""
        self._whole[peer] += nbytes
        self.heard(peer, now)

    def wait(self, peer: PeerId, now: float) -> None:
        """It is not up to ``peer`` that nothing comes: its time begins anew."""
        self._heard[peer] = now
        self._since.pop(peer, None)

    def behind(self, peer: PeerId, now: float, timeout: float, owed: Owed) -> str:
        """How late ``peer`` is by comparison with the others, without its name; empty if it is not. See ``late``."""
        self._look(now, owed, ())
        return self._behind(peer, now, owed) if self._behind_at(peer, timeout) < now else ""

    def late(self, now: float, timeout: float, owed: Owed, held: Collection[PeerId] = ()) -> tuple[PeerId, str] | None:
        """The peer that is late for longest, and a sentence that says how.

        Args:
            now: seconds.
            timeout: ``failure_timeout``, in seconds.
            owed: what is missing now.
            held: peers that could go on if this one let them.
        """
        self._look(now, owed, held)
        late = {peer: due for peer in owed.left.keys() - held if (due := self._due(peer, timeout)) < now}
        if not late:
            return None
        peer = min(late, key=lambda each: (late[each], -owed.left[each], each))
        return peer, self._how(peer, now, timeout, owed)

    def _look(self, now: float, owed: Owed, held: Collection[PeerId]) -> None:
        if owed.turn != self._turn:
            self._turn, self._turn_began = owed.turn, now
            self._since.clear()
        for peer in held:
            self.wait(peer, now)
        behind = owed.left.keys() - held
        if self._peers - len(behind) >= self._enough:
            for peer in behind - self._since.keys():
                self._since[peer] = now, self._came(peer)

    def _came(self, peer: PeerId) -> int:
        return self._whole[peer] + self._part[peer]

    def _due(self, peer: PeerId, timeout: float) -> float:
        return min(self._silent_at(peer, timeout), self._behind_at(peer, timeout), self._over_at(timeout))

    def _silent_at(self, peer: PeerId, timeout: float) -> float:
        patience = timeout
        if self._turn > 1:  # it may be waiting for somebody else, who takes as long as those before
            patience = self._turn * max(timeout, SLOWER * (self._turn_began - self._began))
        return max(self._heard[peer], self._turn_began) + patience

    def _behind_at(self, peer: PeerId, timeout: float) -> float:
        if peer not in self._since:
            return float("inf")
        since, had = self._since[peer]
        useful = (self._came(peer) - had) / self._rate
        return since + self._turn * max(timeout, SLOWER * (since - self._began), useful)

    def _over_at(self, timeout: float) -> float:
        return self._began + self._turn * (TIMEOUTS * timeout + self._seconds)

    def _how(self, peer: PeerId, now: float, timeout: float, owed: Owed) -> str:
        due = self._due(peer, timeout)
        if due == self._silent_at(peer, timeout):
            silence = now - max(self._heard[peer], self._turn_began)
            return f"{peer} sent nothing for {silence:.0f} s: {owed.of(peer)} are missing"
        if due == self._behind_at(peer, timeout):
            return f"{peer} is {self._behind(peer, now, owed)}"
        seconds = now - self._began
        return f"{peer} is too slow: {owed.of(peer)} are missing after {seconds:.0f} s, the longest that it may take"

    def _behind(self, peer: PeerId, now: float, owed: Owed) -> str:
        seconds = now - self._since[peer][0]
        return f"too slow: {owed.of(peer)} are missing {seconds:.0f} s after the others were done"

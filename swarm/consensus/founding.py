"""The founding round: peers that have no model in common yet agree on the initial weights of one of them."""

from __future__ import annotations

from collections.abc import Mapping

from swarm.consensus.effects import Fail
from swarm.consensus.order import leader_order, new_lineage
from swarm.consensus.view import RoundView
from swarm.errors import ConfigurationError, ModelError
from swarm.messages import Entry, Proposal
from swarm.records import Attempt, ContributionStats, PeerId, PeerStatus

OTHERS_MAY_COME = 5.0
"""Seconds that a refused peer waits for compatible ones where it does not know how many to expect."""


class Founding:
    """Decides when enough newcomers have come, and which of them gives its initial weights to all."""

    def __init__(self, view: RoundView) -> None:
        self._view = view
        self._tries = 0
        self._quorum_since: float | None = None
        self._present = 0
        self._refused_at: float | None = None
        self._departed: dict[PeerId, ContributionStats] = {}
        """The last offers of peers that are gone."""
        self.refused: set[PeerId] = set()
        """Peers of another model or other settings; they are not waited for."""

    @property
    def expected(self) -> int:
        """Peers worth waiting for; 0 where unknown."""
        return max(self._view.rules.expected - len(self.refused), 0)

    def refuse(self, peer: PeerId) -> None:
        """A peer has another model or other settings: it is not waited for."""
        if self._refused_at is None:
            self._refused_at = self._view.now
        self.refused.add(peer)

    def welcome(self, peer: PeerId) -> None:
        """A peer fits after all: it was started anew, or has met this one at a better time."""
        self.refused.discard(peer)
        self._departed.pop(peer, None)
        if not self.refused:
            self._refused_at = None

    def failure(self, since: float) -> Fail | None:
        """Why the session cannot start any more; None where it still may. ``since`` is when this peer offered."""
        view = self._view
        least = view.rules.min_peers
        there = ", ".join(sorted(view.live)) or f"nobody else of session {view.rules.session}"
        offers = self._gathered()
        useless = _useless(offers or self._all_that_offered())
        if useless:
            return useless
        if self._refused_at is not None and len(view.live) + 1 < least:
            known = view.rules.expected > 0
            if (known and self.expected < least) or (not known and view.past(self._refused_at + OTHERS_MAY_COME)):
                return Fail(f"incompatible peers: {', '.join(sorted(self.refused))}; compatible: {there}")
        if not view.past(since + view.rules.start_timeout):
            return None
        if offers:
            return Fail(f"the first round did not commit within start_timeout={view.rules.start_timeout:g} s")
        return Fail(
            f"{len(view.live) + 1} of the {least} peers needed (min_peers) were here after "
            f"start_timeout={view.rules.start_timeout:g} s; there: {there}"
        )

    def proposal(self) -> Proposal | None:
        """The founding group, if it is this peer's to propose and its time has come."""
        view, offers = self._view, self._gathered()
        if not offers or _useless(offers):
            return None
        finite = [peer for peer, stats in offers.items() if stats.finite]
        sound = [peer for peer in finite if not offers[peer].nan_state] or finite
        if leader_order(view.rules.session, 0, sound)[0] != view.me:
            return None
        attempt = Attempt(self._tries, view.me)
        self._tries += 1
        return Proposal(
            lineage=new_lineage(view.rules.session, view.me, view.incarnation, attempt.counter),
            round=0,
            attempt=attempt,
            parent="",
            voters=tuple(offers),
            members=tuple(offers),
            entries=tuple(Entry(peer, int(peer == view.me), PeerStatus.TRAINING) for peer in offers),
            sync=view.rules.first_sync,
            closing=False,
            weight=0,
        )

    def depart(self, peer: PeerId) -> None:
        """A peer is gone: what it offered last still says whether a start with it made sense."""
        offer = self._view.offers.get(peer)
        if self._view.commit is None and offer:
            self._departed[peer] = offer.stats

    def _offers(self) -> dict[PeerId, ContributionStats]:
        """What peers that can be reached offer to the founding round, by name."""
        view = self._view
        there = (view.live | {view.me}) - view.barred()
        return {peer: offer.stats for peer, offer in view.offers.items() if peer in there and view.current(offer)}

    def _all_that_offered(self) -> Mapping[PeerId, ContributionStats]:
        """With the last offers of peers that have left, if nobody is waited for; else nothing.

        Of peers that cannot train together, the one that finds out first leaves first.
        """
        view, offers = self._view, dict(sorted({**self._departed, **self._offers()}.items()))
        complete = len(offers) >= max(self.expected, view.rules.min_peers)
        return offers if complete and view.live | {view.me} <= offers.keys() else {}

    def _gathered(self) -> Mapping[PeerId, ContributionStats]:
        """The offers to found a session on, by name in order; empty as long as others are waited for."""
        view, offers = self._view, dict(sorted(self._offers().items()))
        if len(offers) < view.rules.min_peers or view.me not in offers:
            self._quorum_since = None
            return {}
        if self._quorum_since is None or len(offers) > self._present:
            self._quorum_since = view.now
        self._present = len(offers)
        everyone = (view.live | {view.me}) <= offers.keys() and len(offers) >= self.expected
        wait = view.pace.first_straggler_timeout
        if view.rules.seeks and view.rules.expected == 0 and offers.keys() == {view.me}:
            # Nobody has answered yet: it may be that a session is running there.
            everyone, wait = False, min(wait, view.rules.failure_timeout)
        return offers if everyone or view.past(self._quorum_since + wait) else {}


def _useless(offers: Mapping[PeerId, ContributionStats]) -> Fail | None:
    """Why these peers cannot train together; None where they can, or where there are none."""
    if not offers:
        return None
    if not any(stats.weight for stats in offers.values()):
        return Fail(
            f"node_weightage is 0 at {', '.join(offers)}: nobody would contribute, so nothing would be merged;"
            " give one of them a node_weightage from 1 to 100",
            ConfigurationError,
        )
    if not any(stats.finite for stats in offers.values()):
        return Fail(
            f"the weights of {', '.join(offers)} hold NaN or infinity, and no other peer is there to start from:"
            " repair the initial weights of one of them, such as the checkpoint that it loads;"
            " a mask of infinities belongs in a buffer or in a frozen parameter",
            ModelError,
        )
    return None

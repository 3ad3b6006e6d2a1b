"""Which commit this peer lacks, which peers have it, and which of two commits is kept."""

from __future__ import annotations

from collections.abc import Collection

from swarm.consensus.effects import Heal
from swarm.consensus.member import Member
from swarm.consensus.state import RoundState
from swarm.messages import Decide, Prepare
from swarm.records import Commit, PeerId


class CatchUp:
    """Compares what other peers have committed with what this one has.

    A commit whose model is held here is committed at once. Any other is noted with the peers that have it, and fetched
    from them at the next sync point. Only the furthest one is noted, as a model replaces all earlier ones.
    """

    def __init__(self, state: RoundState, member: Member) -> None:
        self._state = state
        self._member = member
        self._ahead: Commit | None = None
        """A commit that this peer lacks."""
        self._holders: set[PeerId] = set()
        """Peers that have it."""
        self.healing = False
        """Whether a committed model is being fetched."""

    def learn(self, sender: PeerId, lineage: str, parent: str) -> None:
        """A peer builds on ``parent``: if that is a result held here, it was decided."""
        state = self._state
        held = self._member.held(parent)
        if held and held.lineage == lineage:
            # Another attempt may have given the same bytes: only its record tells the membership, so ask for that.
            position = state.position
            state.effects.send(sender, Prepare(position.lineage, position.round, state.acceptor.promised))

    def see(self, sender: PeerId, commit: Commit) -> bool:
        """A peer has ``commit``; whether this peer holds its model, so that it has to commit it too."""
        ours = self._state.position.commit
        held = None if self.healing else self._member.held(commit.digest)
        if held and (held.lineage, held.round) == (commit.lineage, commit.round):
            return True
        if ours is None or _beats(commit, ours):
            self._note(sender, commit)
        elif ours.lineage != commit.lineage and not ours.closing:
            self._state.effects.send(sender, Decide(ours))
        return False

    def _note(self, sender: PeerId, commit: Commit) -> None:
        if self._state.position.closed:
            return
        known = self._ahead
        if known is None or (known.lineage, known.round) != (commit.lineage, commit.round):
            if known and not _beats(commit, known):
                return
            self._ahead, self._holders = commit, set()
        self._holders.add(sender)

    def due(self) -> bool:
        """Whether this peer is at a sync point and lacks a commit that a live peer has."""
        state = self._state
        if self._ahead is None or state.offers.mine is None or self.healing or state.position.closed:
            return False
        if self._holders.isdisjoint(state.presence.live):
            self._ahead = None
        return self._ahead is not None

    def begin(self) -> None:
        """Ask for the model that is due; until it is here, or cannot be had, this peer takes part in nothing."""
        self.healing = True
        if self._ahead:
            sources = tuple(sorted(self._holders & self._state.presence.live))
            self._state.effects.add(Heal(self._ahead, sources))

    def healed(self, commit: Commit) -> None:
        """The model of ``commit`` is here; this peer is about to enter the round after it."""
        state, ours = self._state, self._state.position.commit
        self.healing = False
        if ours and ours.lineage != commit.lineage:
            text = f"lineage {ours.lineage} up to round {ours.round} is given up for lineage {commit.lineage}"
            state.effects.notice(text, loud=True)
        if state.position.lineage != commit.lineage:
            # An earlier process of this name may have voted there.
            state.acceptor.may_not_vote()

    def failed(self, commit: Commit, sources: Collection[PeerId]) -> None:
        """``sources`` could not give the model of ``commit``."""
        self.healing = False
        self._holders.difference_update(sources)
        if not self._holders and self._ahead == commit:
            self._ahead = None

    def lost(self, peer: PeerId) -> None:
        """A peer cannot be reached any more."""
        self._holders.discard(peer)

    def entered(self, commit: Commit) -> None:
        """``commit`` is the last one here now: what does not beat it is forgotten."""
        if self._ahead and not _beats(self._ahead, commit):
            self._ahead = None


def _beats(one: Commit, other: Commit) -> bool:
    """Whether a peer that has ``other`` should take ``one``: it is further, or its lineage has more weight.

    Of two lineages of one weight the further one is kept, so that no peer goes back to the lineage that it came from.
    """
    if one.lineage == other.lineage:
        return one.round > other.round
    return (one.weight, one.round, other.lineage) > (other.weight, other.round, one.lineage)

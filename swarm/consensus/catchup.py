"""Which commit this peer lacks, which peers have it, and which of two commits is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from swarm.certification.chain import stands
from swarm.certification.statements import record_hash
from swarm.consensus.effects import Heal
from swarm.consensus.member import Member
from swarm.consensus.state import RoundState
from swarm.consensus.strikes import FACTOR, FIRST, LONGEST, MOST_FACTORS
from swarm.messages import Ask, Decide
from swarm.records import Commit, PeerId, RecordKind


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
        self._before: Commit | None = None
        """The record that this peer had before its last one, if that follows it."""
        self._untrue: Counter[PeerId] = Counter()
        """How often each peer could not prove what it told."""
        self._unheard: dict[PeerId, float] = {}
        """Until when such a peer is not believed what cannot be checked at once."""
        self.healing = False
        """Whether a committed model is being fetched."""

    def learn(self, sender: PeerId, lineage: str, parent: str) -> None:
        """A peer builds on ``parent``: if that is a result held here, it was decided."""
        state = self._state
        held = self._member.held(parent)
        if held and held.lineage == lineage:
            # Another attempt may have given the same bytes: only its record tells the membership, so ask for that.
            state.effects.send(sender, Ask(state.position.lineage, state.position.round))

    def see(self, sender: PeerId, commit: Commit) -> bool:
        """A peer has ``commit``; whether this peer holds its model, so that it has to commit it too."""
        ours = self._state.position.commit
        held = None if self.healing else self._member.held(commit.digest)
        if held and (held.lineage, held.round) == (commit.lineage, commit.round):
            doubt = self._state.verifier.doubt(commit, ours)
            if not doubt:
                return True
            self._tell_lie(sender, doubt)
            return False
        if ours is None or _beats(commit, ours):
            if self._credible(sender, commit):
                self._note(sender, commit)
        elif ours.lineage != commit.lineage and not ours.closing:
            self._state.effects.send(sender, Decide(ours))
        return False

    def _credible(self, sender: PeerId, commit: Commit) -> bool:
        """Whether a commit is worth fetching. One that follows a record that is known here is checked at once."""
        state, ours = self._state, self._state.position.commit
        known = {record_hash(record): record for record in (self._before, ours) if record}
        if commit.previous in known or not commit.previous:
            doubt = state.verifier.doubt(commit, known.get(commit.previous))
            if doubt:
                self._tell_lie(sender, doubt)
            return not doubt
        return state.timer.now >= self._unheard.get(sender, state.timer.now)

    def _tell_lie(self, sender: PeerId, doubt: str) -> None:
        text = f"{sender} told of a round that is not certified: {doubt}"
        self._state.effects.notice(text, loud=True, sender=sender)

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
        if state.position.lineage != commit.lineage or (ours and ours.round == commit.round):
            # An earlier process of this name may have voted in that lineage; or this one has voted in the next round,
            # after the other record, which is another round.
            state.suspended = True

    def disbelieve(self, peers: Collection[PeerId]) -> None:
        """These could not prove what they told: for longer each time they are believed only what can be checked."""
        for peer in peers:
            self._tell_lie(peer, "it gave no records that show it")
            seconds = FIRST * FACTOR ** min(self._untrue[peer], MOST_FACTORS)
            self._unheard[peer] = self._state.timer.now + min(seconds, LONGEST)
            self._untrue[peer] += 1

    def failed(self, commit: Commit, sources: Collection[PeerId]) -> None:
        """``sources`` could not give the model of ``commit``."""
        self.healing = False
        self._holders.difference_update(sources)
        if not self._holders and self._ahead == commit:
            self._ahead = None

    def lost(self, peer: PeerId) -> None:
        """A peer cannot be reached any more."""
        self._holders.discard(peer)

    def entered(self, commit: Commit, before: Commit | None) -> None:
        """``commit`` is the last one here now, after ``before``: what does not beat it is forgotten."""
        self._before = before if before and record_hash(before) == commit.previous else None
        if self._ahead and not _beats(self._ahead, commit):
            self._ahead = None


def _beats(one: Commit, other: Commit) -> bool:
    """Whether a peer that has ``other`` should take ``one``: it is further, or its lineage stands.

    Two records of one round exist only if more voters than are tolerated signed both: the lower hash is kept then.
    """
    if one.lineage != other.lineage:
        return stands(one, other)
    return (one.round, record_hash(other)) > (other.round, record_hash(one))


def lineage_began(commit: Commit, before: Commit, min_peers: int) -> str:
    """The log line at each member of a lineage that begins with ``commit``, after ``before`` of another one."""
    if commit.kind is RecordKind.FORK:
        return (
            f"FORK: {len(commit.members)} of {len(before.members)} members are left and no majority can be reached;"
            f" going on as lineage {commit.lineage} because min_peers={min_peers} allows it"
        )
    restarted = (peer for peer in commit.members if commit.key_of(peer) != before.key_of(peer))
    return (
        f"{', '.join(restarted)} restarted and cannot vote; {len(commit.members)} peers go on from round"
        f" {before.round} as lineage {commit.lineage}"
    )

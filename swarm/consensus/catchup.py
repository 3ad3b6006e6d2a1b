"""Catching up: which commit this peer lacks, who has it, and which of two records stands."""

from __future__ import annotations

from collections.abc import Collection

from swarm.consensus.effects import Heal
from swarm.consensus.view import RoundView
from swarm.messages import Decide, Prepare
from swarm.records import Commit, PeerId


class CatchUp:
    """Compares what others have committed with what this peer has.

    A commit whose bytes are held here is committed at once. One whose bytes are not is noted with those who have it,
    and fetched from them at this peer's next sync point; the furthest one known is enough, as a model replaces all
    that came before it.
    """

    def __init__(self, view: RoundView) -> None:
        self._view = view
        self._ahead: Commit | None = None
        """A commit that this peer lacks, and that others have moved on from."""
        self._holders: set[PeerId] = set()

    def learn(self, sender: PeerId, lineage: str, parent: str) -> None:
        """A peer builds on ``parent``: if that is a result held here, it was decided."""
        view = self._view
        held = view.held.get(parent)
        if held and held.lineage == lineage:
            # Another attempt may have given the same bytes: only its record tells the membership, so ask for that.
            view.send(sender, Prepare(view.lineage, view.round, view.acceptor.promised))

    def see(self, sender: PeerId, commit: Commit) -> bool:
        """A peer has ``commit``. Whether its bytes are held here, so that it is to be committed here as well."""
        view = self._view
        ours = view.commit
        held = None if view.healing else view.held.get(commit.digest)
        if held and (held.lineage, held.round) == (commit.lineage, commit.round):
            return True
        if ours is None or _beats(commit, ours):
            self._note(sender, commit)
        elif ours.lineage != commit.lineage and not ours.closing:
            view.send(sender, Decide(ours))
        return False

    def _note(self, sender: PeerId, commit: Commit) -> None:
        if self._view.closed:
            return
        known = self._ahead
        if known is None or (known.lineage, known.round) != (commit.lineage, commit.round):
            if known and not _beats(commit, known):
                return
            self._ahead, self._holders = commit, set()
        self._holders.add(sender)

    def due(self) -> bool:
        """Whether this peer is at a sync point and lacks a commit that somebody in reach has."""
        view = self._view
        if self._ahead is None or view.mine is None or view.healing or view.closed:
            return False
        if self._holders.isdisjoint(view.live):
            self._ahead = None
        return self._ahead is not None

    def begin(self) -> None:
        """Ask for the model that is due; until it is here, or cannot be had, this peer takes part in nothing."""
        view = self._view
        view.healing = True
        if self._ahead:
            view.effects.append(Heal(self._ahead, tuple(sorted(self._holders & view.live))))

    def healed(self, commit: Commit) -> None:
        """The model of ``commit`` is here; this peer is about to enter the round after it."""
        view = self._view
        view.healing = False
        if view.commit and view.commit.lineage != commit.lineage:
            text = f"lineage {view.lineage} up to round {view.commit.round} is given up for lineage {commit.lineage}"
            view.notice(text, loud=True)
        if view.lineage != commit.lineage:
            # A process of this name may have voted there before this one was started.
            view.votes = False

    def failed(self, commit: Commit, sources: Collection[PeerId]) -> None:
        """``sources`` could not give the model of ``commit``."""
        self._view.healing = False
        self._holders.difference_update(sources)
        if not self._holders and self._ahead == commit:
            self._ahead = None

    def lost(self, peer: PeerId) -> None:
        """A peer is gone, and what it has with it."""
        self._holders.discard(peer)

    def entered(self, commit: Commit) -> None:
        """``commit`` is the last one here now: forget what it is not behind."""
        if self._ahead and not _beats(self._ahead, commit):
            self._ahead = None


def _beats(one: Commit, other: Commit) -> bool:
    """Whether who has ``other`` should take ``one``: it is further, or of a heavier lineage.

    Of two lineages of one weight the further one stays, so that none goes back to the one that it came from.
    """
    if one.lineage == other.lineage:
        return one.round > other.round
    return (one.weight, one.round, other.lineage) > (other.weight, other.round, one.lineage)

"""What the training thread does, as a coroutine: the hook sequence of :class:`swarm.session.session.Session`."""

from __future__ import annotations

from swarm.peer.futures import Answer
from swarm.records import PeerStatus
from swarm.testing.simulation.exchanges import Capture
from swarm.testing.simulation.models import Weights
from swarm.testing.simulation.peer import SimulatedPeer
from swarm.testing.simulation.requests import Place, Synced, Train, Training


class SimulatedTraining:
    """One peer's training run. It moves between models as ``Session`` does; see there for the why."""

    def __init__(self, peer: SimulatedPeer) -> None:
        self.peer = peer
        self.over = False
        self.unmerged = False
        """Whether steps were taken since the last merge."""
        self.capture = Capture(peer.weights)

    def run(self) -> Training:
        """Begin, train, end."""
        peer = self.peer
        peer.capture(self.capture)
        self.capture.finite = True
        resumed = peer.machine.commit
        answer = yield Place(self.capture, PeerStatus.TRAINING, empty=resumed is not None)
        if answer.model is not None:
            peer.weights = Weights(answer.model)
            self.over = answer.closing
        elif not (resumed and answer.answer is Answer.SKIPPED):
            return
        peer.validate(peer.weights.base)
        for _ in range(peer.plan.intervals):
            if self.over:
                return
            if peer.hurried:
                break
            yield Train()
            peer.train()
            self.unmerged = True
            if not peer.hurried:
                yield from self.sync()
        own = Capture(peer.weights)
        if self.unmerged and not self.over:
            yield from self.sync()
        if not self.over:
            yield from self.serve(own)

    def sync(self) -> Training:
        """Offer what this peer holds, and take on what comes of it."""
        peer, capture = self.peer, self.capture
        fresh = not peer.pending
        while True:
            if fresh:
                peer.capture(capture)
            answer = yield Place(capture, PeerStatus.TRAINING, unmerged=self.unmerged)
            if answer.model is None:
                break
            if answer.idle and capture.finite:
                if answer.answer is Answer.MERGED:
                    return
                fresh = True
                continue
            self.take_over(answer, answer.model, unchanged=fresh)
            if answer.answer is Answer.MERGED or answer.closing:
                break
            fresh = True
        if answer.model is not None:
            peer.validate(answer.model)
        self.over = self.over or answer.closing or answer.answer is Answer.ENDED

    def serve(self, own: Capture) -> Training:
        """Take part in rounds without training until the closing one."""
        peer = self.peer
        while True:
            answer = yield Place(own, peer.plan.checkin, unmerged=self.unmerged)
            if answer.model is not None:
                peer.weights = Weights(answer.model)
            if answer.answer is Answer.MERGED and answer.commit and peer.name in answer.commit.contributors:
                self.unmerged = False
            if answer.closing or answer.model is None:
                return
            if answer.answer is Answer.MERGED:
                peer.validate(answer.model)

    def take_over(self, answer: Synced, committed: str, *, unchanged: bool) -> None:
        """Bring the weights to a committed model; steps that are in none stay on top."""
        peer = self.peer
        merged = answer.answer is not Answer.HEALED
        before = self.capture.weights if merged else answer.before
        held = peer.weights
        fresh = answer.answer is Answer.MERGED and unchanged
        if answer.idle or answer.closing or before is None or fresh:
            peer.weights = Weights(committed)
        else:
            peer.weights = peer.library.move(peer.weights, before, committed)
        if merged and not answer.closing and self.capture.finite:
            peer.merged(held, answer)
        if merged:
            self.unmerged = bool(peer.weights.own)

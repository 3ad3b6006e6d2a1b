"""The models that a peer holds: what it offers, the committed one, and what others fetch from it or give to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.messages import FetchRequest, Proposal
from swarm.peer.futures import Answer, Synced
from swarm.records import Commit, PeerInfo, PeerStatus
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from swarm.consensus.effects import Fetch, Heal
    from swarm.consensus.machine import RoundMachine
    from swarm.peer.exchanger import Exchanger
    from swarm.peer.healing import Fetcher
    from swarm.peer.roster import Roster
    from swarm.storage.checkpoints import Checkpoints
    from swarm.tensors.capture import Capture


class Models:
    """Brings the reference model to what the round machine commits; only ``requested`` is called on other threads.

    It looks at the machine and never tells it anything: what has come of a call is told to the caller.
    """

    def __init__(
        self,
        *,
        me: PeerInfo,
        machine: RoundMachine,
        exchanger: Exchanger,
        fetcher: Fetcher,
        roster: Roster,
        logger: logging.Logger,
    ) -> None:
        self.capture: Capture | None = None
        """What was offered last, as long as it may be merged; belongs to whoever offered it."""
        self.reference: ModelState | None = None
        """The model of the last committed round applied here; replaced, never changed."""
        self.checkpoints: Checkpoints | None = None
        """Where committed models are kept on disk, if anywhere."""
        self._me = me
        self._machine = machine
        self._exchanger = exchanger
        self._fetcher = fetcher
        self._roster = roster
        self._log = logger

    def requested(self, request: FetchRequest) -> ModelState:
        """The model with the requested digest, decided or not.

        Raises:
            ExchangeError: the sender is not in the session, or the model is not here.
        """
        if request.session != self._me.session or self._roster.info(request.sender) is None:
            raise ExchangeError(f"{request.sender} is not in session {self._me.session} with {self._me.name}")
        undecided, reference, commit = self._exchanger.assembled(request.digest), self.reference, self._machine.commit
        if undecided is not None:
            return undecided
        if reference is None or commit is None or commit.digest != request.digest:
            raise ExchangeError(f"{self._me.name} does not hold the model {request.digest}")
        return reference

    def contribution(self, proposal: Proposal) -> Capture | None:
        """What this peer brings to an attempt; None where it has nothing at hand."""
        entry = next(entry for entry in proposal.entries if entry.peer == self._me.name)
        if entry.status is PeerStatus.ACTIVE:
            return self.reference
        return self.capture

    def parent(self, proposal: Proposal) -> ModelState | None:
        """The model that an attempt builds on; None where it is not here, and for the first attempt of all."""
        commit = self._machine.commit
        return self.reference if commit and commit.digest == proposal.parent else None

    def apply(self, commit: Commit, attempts: int) -> Synced:
        """Go on from a model that was assembled here, and is decided; ``attempts`` is how many its round took."""
        before, model = self.reference, self._exchanger.committed(commit.digest)
        self._replace(commit, model)
        if self._me.name in commit.group:
            return Synced(answer=Answer.MERGED, commit=commit, model=model, attempts=attempts)
        # It only voted, with a model that it fetched for that: its capture is in no commit.
        return Synced(answer=Answer.HEALED, commit=commit, model=model, before=before)

    def heal(self, heal: Heal, done: Callable[[Synced | None], None]) -> None:
        """Catch up with a committed round; ``done`` gets what to tell the training thread, or None for a failure."""
        commit, names = heal.commit, ", ".join(heal.sources)

        def fetched(model: ModelState | None) -> None:
            if model is None:
                done(None)
                return
            # What it offered may be in a round it did not see decided: then those steps count as merged.
            before: Capture | None = self.capture if self._machine.exposed and self.capture else self.reference
            self._exchanger.healed()
            self._log.info("caught up with round %d from %s", commit.round, names)
            self._replace(commit, model)
            done(Synced(answer=Answer.HEALED, commit=commit, model=model, before=before))

        self._fetcher.fetch(commit.digest, heal.sources, fetched)

    def fetch(self, fetch: Fetch, done: Callable[[bool], None]) -> None:
        """Get a model that others hold and that is not decided yet; ``done`` gets whether it is here."""

        def fetched(model: ModelState | None) -> None:
            if model is not None:
                self._exchanger.add(fetch.digest, model)
            done(model is not None)

        self._fetcher.fetch(fetch.digest, fetch.sources, fetched)

    def forget(self) -> None:
        """The session is over: a callback that lives on must not keep models alive."""
        self.capture = self.reference = None

    def _replace(self, commit: Commit, model: ModelState) -> None:
        self.reference = model
        if self.checkpoints:
            self.checkpoints.offer(commit, model)

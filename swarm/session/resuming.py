"""How much of its training a site has done: told to its checkpoints, and taken from them where a run is resumed."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from swarm.certification.encoding import decode_record
from swarm.certification.statements import record_hash
from swarm.errors import LedgerError, ModelError
from swarm.records import NOT_RESUMED, Resumed
from swarm.session.naming import resumed_name
from swarm.storage.checkpoints import files_of
from swarm.storage.training import Training

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.peer.progress import Progress
    from swarm.records import Commit
    from swarm.storage.checkpoints import Checkpoints, CheckpointStore
    from swarm.storage.ledger import Ledger
    from swarm.tensors.training import TrainingState, Tree


PATIENCE = 10.0
"""Seconds to wait until the ledger, which another thread writes, has the record of the model to begin with."""


class SiteTraining:
    """The epochs and batches of this site, over all of its runs, and the state of its optimizers and schedules."""

    def __init__(self, state: TrainingState | None, progress: Progress, logger: logging.Logger) -> None:
        """Nothing is resumed yet.

        Args:
            state: of optimizers and schedules, where the framework gives them.
            progress: counts the epochs of this run.
            logger: is told what is resumed.
        """
        self.resumed = NOT_RESUMED
        self._state = state
        self._progress = progress
        self._log = logger
        self._read_failed = False
        self._ledger: Ledger | None = None
        self._first: Commit | None = None
        self._epoch_began = 0
        """Batches of this run at the end of its last epoch."""

    def resume(self, store: CheckpointStore) -> None:
        """Go on from what ``store`` has of this site's training."""
        found = store.training(self._log)
        if found is None:
            return
        self.resumed = done = found.progress
        self._epoch_began = -done.epoch_batches
        if self._state is not None and found.state is not None:
            try:
                self._state.write(found.state)
            except ModelError as error:
                text = "resume: the state of the optimizer and of other objects of the script is not loaded: %s"
                self._log.warning(text, error)
        self._log.info(
            "resuming after %d epochs and %d batches of the next one, %d batches in all",
            done.epochs,
            done.epoch_batches,
            done.batches,
        )

    def began(self, ledger: Ledger, commit: Commit | None) -> None:
        """This run has begun with the model of ``commit``."""
        self._ledger, self._first = ledger, commit

    @cached_property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start; 0 at the start.

        That is the sum of the intervals between its rounds. The ledger has all of them.
        """
        if self._ledger is None or self._first is None or not self._first.round:
            return 0
        record = record_hash(self._first)
        try:
            self._ledger.stored(record, PATIENCE)
            intervals = [decode_record(content).sync.interval for content in self._ledger.chain(record)]
        except (LedgerError, ValueError) as error:
            self._log.warning("how far the swarm had trained is not known, as the ledger cannot be read: %s", error)
            return 0
        return sum(intervals[:-1])

    def epoch_ended(self, batches: int) -> None:
        """An epoch has ended after that many batches of this run."""
        self._epoch_began = batches

    def keep(self, checkpoints: Checkpoints, batches: int) -> None:
        """A sync point begins after that many batches of this run: give ``checkpoints`` the state, if they want it."""
        if checkpoints.wants_training():
            done = Resumed(
                epochs=max(self.resumed.epochs, self._progress.epochs),
                batches=self.resumed.batches + batches,
                epoch_batches=batches - self._epoch_began,
            )
            checkpoints.keep_training(Training(done, self._read()))

    def _read(self) -> Tree:
        """The state now; None, with a warning, if the code of the framework or of the script fails."""
        try:
            return None if self._state is None else self._state.read()
        except Exception as error:  # noqa: BLE001  (the user's code)
            level = logging.DEBUG if self._read_failed else logging.WARNING
            self._read_failed = True
            text = "checkpoints have no state of the optimizer and of other objects of the script: %s: %s"
            self._log.log(level, text, type(error).__name__, error)
            return None


def resumed_before(settings: Settings) -> Resumed:
    """What a run with these settings will resume, before it has begun: the checkpoint itself is not looked at."""
    if settings.loopback or not settings.resume:
        return NOT_RESUMED
    files = files_of(replace(settings, name=resumed_name(settings)))
    return files.progress() if files else NOT_RESUMED

"""The model as a session handles it on the training thread: captured, and brought to committed models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.session.tickets import Answer, Synced
from swarm.state import ModelState, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.model import ModelPort
    from swarm.session.pending import PendingAnswer


class Weights:
    """Knows which of the model's local steps are in the capture, and which are in a committed merge.

    Steps are counted in local batches.
    """

    def __init__(self, port: ModelPort, schema: Schema) -> None:
        self.batches = 0
        """Local batches so far."""
        self.captured_at = 0
        """Batches that are in the capture."""
        self.merged_up_to = 0
        """Batches that are in a committed merge."""
        self.capture = ModelState.empty(schema)
        """What a round takes of the model: one buffer, filled at each sync point."""
        self._port = port
        self._kept = False
        self._spent = False
        self._ahead = False

    def take(self, *, keep: bool) -> None:
        """Copy the model into the capture; ``keep`` the one that is there instead, if it may still be merged."""
        self._kept = keep and not self._spent
        if not self._kept:
            self._port.read(self.capture)
            self.captured_at, self._spent = self.batches, False

    def load(self, committed: ModelState) -> None:
        """Bring the model to a committed one, whatever steps it holds."""
        self._port.write(committed)
        self._ahead = False

    def take_over(self, pending: PendingAnswer, answer: Synced, committed: ModelState) -> None:
        """Bring the model to a committed one; steps that are in no committed merge yet stay on top of it."""
        stepped = self._kept or self.batches != self.captured_at
        # What is not finite has no steps worth keeping, and no sum would ever be rid of it.
        if pending.replaces or not pending.finite or (answer.answer is Answer.MERGED and not stepped):
            self.load(committed)
        else:
            self._port.add(pending.step)
            self._ahead = True
        self._spent = self._spent or pending.spent
        if pending.merged:
            self.merged_up_to = self.captured_at

    def show(self, committed: ModelState, look: Callable[[], None]) -> None:
        """Let ``look`` see the model as it was committed, without the steps on top of it."""
        if not self._ahead:
            look()
            return
        own = ModelState.empty(committed.schema)
        self._port.read(own)
        self._port.write(committed)
        try:
            look()
        finally:
            self._port.write(own)

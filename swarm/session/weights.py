"""The model as a session handles it on the training thread: captured, and brought to committed models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.peer.futures import Answer, Synced
from swarm.tensors.capture import BorrowedCapture, Capture
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.session.pending import PendingAnswer
    from swarm.tensors.model import ModelPort


class Weights:
    """Knows which of the model's local steps are in the capture, and which are in a committed merge.

    Steps are counted in local batches.
    """

    def __init__(self, port: ModelPort, schema: Schema, *, borrow: bool = False) -> None:
        """``borrow`` tells whether training stands still while a round reads the capture."""
        self.schema = schema
        self.batches = 0
        """Local batches so far."""
        self.captured_at = 0
        """Batches that are in the capture."""
        self.merged_up_to = 0
        """Batches that are in a committed merge, or were given up for one."""
        self._port = port
        self._borrow = borrow
        self._capture: Capture | None = None
        self._copy: ModelState | None = None
        self._kept = False
        self._spent = False
        self._ahead = False

    def take(self, *, keep: bool) -> Capture:
        """What a round takes of the model as it is now; ``keep`` the capture that is there, if it may still be merged.

        The model is borrowed where that can be, else copied into one buffer, filled at each sync point.
        """
        self._kept = keep and not self._spent and self._capture is not None
        if not self._kept:
            self._capture = self._taken()
            self.captured_at, self._spent = self.batches, False
        return self.capture

    @property
    def unmerged(self) -> int:
        """Batches that are in no committed merge and were not given up for one."""
        return self.batches - self.merged_up_to

    @property
    def capture(self) -> Capture:
        """What was taken last."""
        if self._capture is None:
            raise ValueError("nothing was taken")
        return self._capture

    def settle(self, *, pending: bool) -> None:
        """The model is about to change: the capture must not, if it is ``pending`` and may still be merged."""
        if self._capture and pending:
            self._capture.hold()
        elif self._borrow:
            self._capture = None

    def _taken(self) -> Capture:
        borrowed = self._port.borrow(self.schema) if self._borrow else None
        if borrowed is not None:
            return BorrowedCapture(self.schema, borrowed)
        self._copy = self._copy or ModelState.empty(self.schema)
        self._port.read(self._copy)
        return self._copy

    def load(self, committed: ModelState) -> None:
        """Bring the model to a committed one, whatever steps it holds."""
        self._port.write(committed)
        self._ahead = False

    def served(self, *, late: bool) -> None:
        """A round has merged what this peer has contributed since its training ended.

        What is decided ``late``, or found by catching up, has the capture that was offered before.
        """
        self.merged_up_to = max(self.merged_up_to, self.captured_at) if late else self.batches

    def take_over(self, pending: PendingAnswer, answer: Synced, committed: ModelState) -> None:
        """Bring the model to a committed one; steps that are in no committed merge yet stay on top of it."""
        if pending.idle:
            self._ahead = self.unmerged > 0
            return
        stepped = self._kept or self.batches != self.captured_at
        # What is not finite has no steps worth keeping, and no sum would ever be rid of it.
        if pending.replaces or not pending.finite or (answer.answer is Answer.MERGED and not stepped):
            self.load(committed)
            self.merged_up_to = self.batches
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

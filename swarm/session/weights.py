"""The model on the training thread: what a round gets of it, and how a committed model is loaded into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.peer.futures import Answer, AnswerKind
from swarm.tensors.capture import BorrowedCapture, Capture
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from swarm.session.batches import Batches
    from swarm.session.pending import PendingAnswer
    from swarm.tensors.model import Correction, ModelPort


class Weights:
    """Reads and writes the model, and notes in ``batches`` which are in the capture and which in a committed merge."""

    def __init__(
        self,
        port: ModelPort,
        schema: Schema,
        batches: Batches,
        *,
        borrow: bool = False,
        correction: Correction | None = None,
    ) -> None:
        """Nothing is captured or loaded yet.

        Args:
            port: the model.
            schema: of the model.
            batches: of the peer.
            borrow: whether training stands still while a round reads the capture.
            correction: changes the gradients of the training; is told of each model that it goes on from.
        """
        self.schema = schema
        self._correction = correction
        self.resumed = False
        """Whether the model holds the values that this site kept for itself in an earlier run."""
        self._batches = batches
        self._port = port
        self._borrow = borrow
        self._capture: Capture | None = None
        self._copy: ModelState | None = None
        self._kept = False
        self._spent = False
        self._ahead = False

    def take(self, *, keep: bool, own: ModelState | None = None) -> Capture:
        """Capture the model for a round; with ``keep``, return the previous capture if it may still be merged.

        The model is borrowed if its port allows that. Otherwise it is copied to a buffer that all captures use, unless
        ``own`` is a copy of it.
        """
        self._kept = keep and not self._spent and self._capture is not None
        if not self._kept:
            self._capture = own or self._taken()
            self._batches.captured_at, self._spent = self._batches.done, False
        return self.capture

    @property
    def capture(self) -> Capture:
        """The last capture."""
        if self._capture is None:
            raise ValueError("nothing was captured")
        return self._capture

    def release(self, *, pending: bool) -> None:
        """The model is about to change: keep a copy of the capture if it is ``pending`` and may still be merged."""
        if self._capture and pending:
            self._capture.hold()
        elif self._borrow:
            self._capture = None

    def spare(self) -> None:
        """Free the memory of captures; none of them may still be merged."""
        self._capture = self._copy = None

    def _taken(self) -> Capture:
        borrowed = self._port.borrow(self.schema) if self._borrow else None
        if borrowed is not None:
            return BorrowedCapture(self.schema, borrowed)
        self._copy = self._copy or ModelState.empty(self.schema)
        self._port.read(self._copy)
        return self._copy

    def load(self, committed: ModelState, odd: Collection[str] = ()) -> None:
        """Load a committed model; local steps are lost. What this site keeps for itself does not change.

        That is loaded as well if the site has not trained, so that it has nothing of its own, or if it is among the
        tensors with NaN or infinity, which ``odd`` names.
        """
        self._load(committed, odd)
        if self._correction:
            self._correction.follow(committed, unmerged=0)

    def _load(self, committed: ModelState, odd: Collection[str]) -> None:
        own = self._batches.done or self.resumed
        if own and not any(spec.name in odd for spec in self.schema.kept.tensors):
            self._port.update(committed)
        else:
            self._port.write(committed)
        self._ahead = False

    def served(self, *, late: bool) -> None:
        """A round has merged what this peer contributed after the end of its training.

        A round that was decided ``late``, or found by catching up, contains the previous capture.
        """
        batches = self._batches
        batches.merged_up_to = max(batches.merged_up_to, batches.captured_at) if late else batches.done

    def take_over(self, pending: PendingAnswer, answer: Answer, committed: ModelState) -> None:
        """Load a committed model, and add the local steps that are in no committed merge yet."""
        batches = self._batches
        if pending.idle:
            self._ahead = batches.unmerged > 0
            return
        stepped = self._kept or batches.done != batches.captured_at
        # Steps of a model with NaN or infinity are lost: a sum with such values stays NaN or infinite.
        if pending.replaces or not pending.finite or (answer.kind is AnswerKind.MERGED and not stepped):
            self._load(committed, pending.odd)
            batches.merged_up_to = batches.done
            if not pending.finite:
                self._capture = None  # no round merges it; offered again, it would cost the steps trained since
        else:
            self._port.add(pending.step)
            self._ahead = True
        self._spent = self._spent or pending.spent
        if pending.merged:
            batches.merged_up_to = batches.captured_at
        if self._correction:
            self._correction.follow(committed, unmerged=batches.unmerged)

    def show(self, committed: ModelState, look: Callable[[], None]) -> None:
        """Call ``look`` while the model holds the committed weights, without local steps."""
        if not self._ahead:
            look()
            return
        own = ModelState.empty(committed.schema)
        self._port.read(own)
        self._port.update(committed)
        try:
            look()
        finally:
            self._port.write(own)

"""One training run in the swarm, for the callbacks that count its batches; knows no framework."""

from __future__ import annotations

import logging
import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarm.session import Session

NEVER = sys.maxsize
"""Batches to the next sync point once there is none."""


class Run:
    """One session, from joining the swarm to its closing model.

    Callbacks count batches on their own, down from what the methods return, so that a batch between two merges costs
    them one subtraction. A run that is neither finished nor aborted when the process ends, or when nobody refers to
    it any more, leaves the swarm politely.
    """

    def __init__(self, session: Session, *, logger: logging.Logger, scope: object | None = None) -> None:
        """Nothing is opened before ``begin``.

        Args:
            session: one that has not begun.
            logger: where a loss that is no number is complained of.
            scope: what goes away when training does, to leave the swarm with it; the run itself by default.
        """
        self.session = session
        self.joined = False
        """Whether ``begin`` has been gone through."""
        self._logger = logger
        self._loss_is_odd = False
        self._interval = 0
        owner = self if scope is None else scope
        self._leave = weakref.finalize(owner, session.abort, "training ended without on_train_end")

    @property
    def live(self) -> bool:
        """Whether the run has neither finished nor left."""
        return self._leave.alive

    def begin(self) -> int:
        """Join and take on the common initial weights; returns the batches to the first sync point.

        Raises:
            SwarmError: as ``Session.begin``; the run has then left the swarm.
        """
        try:
            self.session.begin()
        except BaseException:
            self.abort("training could not begin")
            raise
        self.joined = True
        return self._next()

    def sync(self, left: int, loss: object = None) -> int:
        """Tell the session of the batches counted down to ``left``, at a boundary: it merges when one is due.

        Args:
            left: where the callback's count stands.
            loss: training loss of the last batch, a number or a tensor; anything else counts as none.

        Returns:
            The batches to the next sync point.
        """
        return self._count(left, at_boundary=True, loss=self._number(loss))

    def postpone(self, left: int, batches: int) -> int:
        """Put a sync point that is due at ``left`` off by some ``batches``; returns as ``sync``."""
        self._interval += batches
        return left + batches

    def epoch_end(self, left: int, epoch: int) -> int:
        """Tell the session that an epoch ended; nothing is merged. Returns as ``sync``."""
        left = self._count(left)
        self.session.epoch_end(epoch)
        return left

    def finish(self, left: int) -> None:
        """Go through the closing round; the model then holds the swarm's closing model."""
        self._count(left)
        try:
            self.session.end()
        except BaseException:
            self.abort("training could not end")
            raise
        self._leave.detach()

    def abort(self, reason: str) -> None:
        """Leave the swarm; nothing happens when the run is over."""
        if self._leave.detach() is not None:
            self.session.abort(reason)

    def _count(self, left: int, *, at_boundary: bool = False, loss: float | None = None) -> int:
        if (batches := self._interval - left) and not self.session.over:
            self.session.advance(batches, at_boundary=at_boundary, loss=loss)
        return self._next()

    def _next(self) -> int:
        self._interval = NEVER if self.session.over else self.session.batches_left
        return self._interval

    def _number(self, loss: Any) -> float | None:
        """The training loss, for display only: what is no number costs one warning, not the run."""
        if loss is None:
            return None
        try:
            return _mean(loss)
        except Exception as error:  # noqa: BLE001  (what a framework raises for a tensor without a value is its own)
            if not self._loss_is_odd:
                self._loss_is_odd = True
                self._logger.warning(
                    "loss is ignored, allowed are a number and a tensor: a %s was given, %s", type(loss).__name__, error
                )
            return None


def _mean(loss: Any) -> float:
    """A number as it is, an array or tensor of any framework as its mean."""
    if hasattr(loss, "detach"):  # torch takes no mean of integers, and warns of gradients
        loss = loss.detach().double()
    return float(loss.mean() if hasattr(loss, "mean") else loss)

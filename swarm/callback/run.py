"""One training run in the swarm, for the callbacks that count its batches; knows no framework."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from swarm.callback.live import LIVE
from swarm.callback.loop import Loop

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.session import Session

NEVER = sys.maxsize
"""Batches to the next sync point once there is none."""
FORGOTTEN = "training ended without on_train_end"
"""Why a peer leaves whose script never ended the training."""
FIT_STOPPED = "fit() stopped before its end"
"""Why a peer leaves whose framework calls no hook when ``fit`` raises."""
QUIETLY = 1.0
"""Seconds to wait for a run to leave before a log line says so."""
AT_MOST = 15.0
"""Seconds to wait for it after that; leaving has deadlines of its own, which together are shorter."""


class Counter(Protocol):
    """Counts the batches of a run, down from what the run returned last."""

    left: int | None
    """What is left of that number; None where nobody counts any more. 0 makes the next batch an error."""


class Departure:
    """How a run leaves the swarm, and what happens when training ends and nobody has called ``finish`` or ``abort``.

    It outlives run and callback, so it refers to neither.
    """

    def __init__(self, session: Session, settings: Settings, logger: logging.Logger, *, in_fit: bool) -> None:
        self.joined = False
        self.reason, self._remedy = FORGOTTEN, ". Call on_train_end() after the last batch"
        if in_fit:
            self.reason, self._remedy = FIT_STOPPED, ""
        peer = (settings.model_name, settings.name, settings.rendezvous, settings.peers)
        self.peer = None if settings.loopback else peer
        """What no two live runs may share: the peer, in its swarm. None where there is no swarm."""
        self._session = session
        self._settings = settings
        self._logger = logger
        self._process = os.getpid()
        self._threads = threading.current_thread(), threading.main_thread()
        self._gone = threading.Event()

    def __call__(self) -> None:
        """Say so and leave; not in a forked child, which has only a copy of the run.

        Any thread may collect garbage. One of the session's own would wait for itself, or hold what leaving needs.
        """
        if os.getpid() != self._process:
            return
        if threading.current_thread() in self._threads:
            self._leave()
        else:
            threading.Thread(target=self._leave, name="swarm-leaving").start()

    def _leave(self) -> None:
        if self.joined and not self._session.over:
            self._logger.warning("%s", self._text())
        self.leave(self.reason, unintended=True)

    def leave(self, reason: str, *, unintended: bool = False) -> None:
        """Leave the swarm; only then does a new run of the same peer begin."""
        try:
            self._session.abort(reason, unintended=unintended)
        finally:
            self.settle()

    def settle(self) -> None:
        """The run has left."""
        self._gone.set()
        LIVE.settle(self)

    def wait(self) -> None:
        """Wait until the run has left, with a log line if that takes long, and not for ever."""
        if not self._gone.wait(QUIETLY):
            settings = self._settings
            text = "session %s: the last run of %s is still leaving; waiting for it for up to %d s"
            self._logger.info(text, settings.model_name, settings.name, AT_MOST)
            self._gone.wait(AT_MOST)

    def _text(self) -> str:
        settings = self._settings
        others = "" if settings.loopback else "; the other peers continue without it"
        return (
            f"session {settings.model_name}: {self.reason}, so {settings.name} leaves without the closing model"
            f"{others}{self._remedy}"
        )


class Run:
    """One session, from joining the swarm to its closing model.

    Callbacks count batches on their own, down from what the methods return, so that a batch between two merges costs
    them one subtraction. A run that is neither finished nor aborted when the process ends, or when nobody refers to
    it any more, leaves the swarm politely.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings,
        *,
        logger: logging.Logger,
        loop: Loop,
        counter: Counter,
        watched: bool = False,
        scope: object | None = None,
    ) -> None:
        """Nothing is opened before ``begin``.

        Args:
            session: one that has not begun.
            settings: those of the session.
            logger: where the run reports what the user should know.
            loop: the call that trains.
            counter: counts the batches; may not keep the callback alive.
            watched: leave as soon as ``loop`` is no longer running, even where somebody keeps its error.
            scope: leave when this object is collected; the run itself by default.
        """
        self.session = session
        self.loop = loop
        self.watched = watched
        self.model_name, self.name = settings.model_name, settings.name
        self.reason = ""
        """Why it was aborted."""
        self._logger = logger
        self._counter = counter
        self._advanced = False
        self._loss_is_odd = False
        self._interval = 0
        self.departure = Departure(session, settings, logger, in_fit=watched)
        owner = self if scope is None else scope
        self._leave = weakref.finalize(owner, self.departure)

    @property
    def joined(self) -> bool:
        """Whether ``begin`` has been gone through."""
        return self.departure.joined

    @property
    def live(self) -> bool:
        """Whether the run has neither finished nor left."""
        return self._leave.alive

    @property
    def trained(self) -> bool:
        """Whether any batch was counted."""
        return self._advanced or self._counter.left not in (None, self._interval)

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
        self.departure.joined = True
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
        self.departure.settle()

    def abort(self, reason: str, *, warn: bool = False) -> None:
        """Leave the swarm; nothing happens when the run is over.

        Args:
            reason: for the others' logs, and for the error of a hook that is called nevertheless.
            warn: log the reason here as well, where the user did not ask for it.
        """
        if self._leave.detach() is None:
            return
        self.reason = reason
        if warn and self.joined and not self.session.over:
            self._logger.warning("session %s: %s leaves: %s", self.model_name, self.name, reason)
        self._counter.left = 0
        self.departure.leave(reason)

    def forgotten(self) -> None:
        """Leave because training has ended and nobody said so; nothing happens when the run is over."""
        if self.live:
            self.reason = self.departure.reason
            self._leave()

    def _count(self, left: int, *, at_boundary: bool = False, loss: float | None = None) -> int:
        if (batches := self._interval - left) and not self.session.over:
            self._advanced = True
            if not self.loop.running:  # it began in a call that left the training to others
                self.loop = Loop.unknown()
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

"""One training run of a callback, from ``on_train_begin`` on, and how it leaves the swarm."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from swarm.callback.loop import Loop
from swarm.callback.notebook import show_in_notebook

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.session import Session

FORGOTTEN = "training ended without on_train_end"
"""The reason given where the script never ended the training."""
FIT_STOPPED = "fit() stopped before its end"
"""The reason given where the framework calls no hook when ``fit`` raises."""
QUIETLY = 1.0
"""Seconds to wait for a run to leave before a log line says so."""
AT_MOST = 15.0
"""Seconds to wait after that line; leaving has deadlines of its own, which together are shorter."""


class Counter(Protocol):
    """The callback as its run sees it: it counts batches."""

    counted: int
    """Batches that the session has not been told of."""
    due: int
    """The number of batches at which the session has to be called; 0 makes the next batch an error."""


class Run:
    """One session, and whether it is still to be ended.

    A run that is neither finished nor aborted leaves the swarm when its owner is collected or the process ends. It
    outlives the callback for that, so it has only a weak reference to it.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings,
        *,
        logger: logging.Logger,
        loop: Loop,
        counter: Counter,
        on_gone: Callable[[Run], None],
        watched: bool = False,
        owner: object | None = None,
    ) -> None:
        """Opens nothing.

        Args:
            session: one that has not begun.
            settings: those of the session.
            logger: where to report what the user should know.
            loop: the call that trains.
            counter: the callback.
            on_gone: called once when the run has ended or left, on any thread.
            watched: whether to leave as soon as ``loop`` is no longer running, even if its error is kept.
            owner: leave when this object is collected; by default ``counter``.
        """
        self.session = session
        self.loop = loop
        self.watched = watched
        self.joined = False
        """Whether the session has begun."""
        self.reason = ""
        """Why the run was aborted."""
        peer = (settings.model_name, settings.name, settings.rendezvous, settings.peers)
        self.peer = None if settings.loopback else peer
        """Identifies the peer in its swarm: two live runs may not share it. None where there is no swarm."""
        self.model_name, self.name = settings.model_name, settings.name
        self._logger = logger
        self._on_gone = on_gone
        self._advanced = False
        self._counter = weakref.ref(counter)
        self._process = os.getpid()
        self._threads = threading.current_thread(), threading.main_thread()
        self._gone = threading.Event()
        self._hide: Callable[[], None] = lambda: None
        self._open = weakref.finalize(counter if owner is None else owner, self._dropped)

    @property
    def live(self) -> bool:
        """Whether the run has neither finished nor begun to leave."""
        return self._open.alive

    @property
    def trained(self) -> bool:
        """Whether any batch was counted."""
        counter = self._counter()
        return self._advanced or (counter is not None and counter.counted > 0)

    def begin(self) -> None:
        """Join the swarm.

        Raises:
            SwarmError: as ``Session.begin``; the run has then left the swarm.
        """
        self.session.uncounted = self._uncounted
        self._hide = show_in_notebook(self.session, f"{self.model_name}, {self.name}")
        try:
            self.session.begin()
        except BaseException:
            self.abort("training could not begin")
            raise
        self.joined = True

    def advance(self, batches: int, *, at_boundary: bool, loss: float | None, averaged: bool) -> None:
        """Tell the session of ``batches``, as ``Session.advance``."""
        self._advanced = True
        if not self.loop.running:  # it began in a call that left the training to others
            self.loop = Loop.unknown()
        self.session.advance(batches, at_boundary=at_boundary, loss=loss, averaged=averaged)

    def finish(self) -> None:
        """Take part until every peer is done; the model then holds the swarm's closing model.

        Raises:
            BaseException: what ``Session.end`` raises; the run has then left the swarm.
        """
        try:
            self.session.end()
        except BaseException:
            self.abort("training could not end")
            raise
        self._open.detach()
        self._ended()

    def abort(self, reason: str, *, warn: bool = False) -> None:
        """Leave the swarm; nothing happens when the run has ended.

        Args:
            reason: for the logs of the other peers, and for the error of a hook that is called later.
            warn: log the reason here as well.
        """
        if self._open.detach() is None:
            return
        self.reason = reason
        if warn and self.joined and not self.session.over:
            self._logger.warning("session %s: %s leaves: %s", self.model_name, self.name, reason)
        self._leave(reason)

    def forgotten(self) -> None:
        """Leave because training has ended without ``finish`` or ``abort``; nothing happens when the run has ended."""
        self._open()

    def wait(self) -> None:
        """Wait until the run has left, for a limited time; a log line says so if that takes long."""
        if not self._gone.wait(QUIETLY):
            text = "session %s: the last run of %s is still leaving; waiting for it for up to %d s"
            self._logger.info(text, self.model_name, self.name, AT_MOST)
            self._gone.wait(AT_MOST)

    def _uncounted(self) -> int:
        counter = self._counter()
        return counter.counted if counter is not None else 0

    def _dropped(self) -> None:
        """Leave the swarm with a warning; not in a forked child, which has only a copy of the run.

        Any thread may collect garbage. One of the session's own would wait for itself, or hold a lock that leaving
        needs, so a thread of its own does it then.
        """
        if os.getpid() != self._process:
            return
        if threading.current_thread() in self._threads:
            self._leave_with_warning()
        else:
            threading.Thread(target=self._leave_with_warning, name="swarm-leaving").start()

    def _leave_with_warning(self) -> None:
        self.reason = FIT_STOPPED if self.watched else FORGOTTEN
        if self.joined and not self.session.over:
            others = "" if self.peer is None else "; the other peers continue without it"
            remedy = "" if self.watched else ". Call on_train_end() after the last batch"
            text = "session %s: %s, so %s leaves without the closing model%s%s"
            self._logger.warning(text, self.model_name, self.reason, self.name, others, remedy)
        self._leave(self.reason, unintended=True)

    def _leave(self, reason: str, *, unintended: bool = False) -> None:
        """Leave the swarm; only after that may a new run of the same peer begin."""
        counter = self._counter()
        if counter is not None:
            counter.due = 0
        try:
            self.session.abort(reason, unintended=unintended)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._hide()
        self._gone.set()
        self._on_gone(self)

"""What the callbacks of all frameworks have in common: they take the same arguments, and hold one run at a time."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, Unpack

from swarm.callback.live import LIVE
from swarm.callback.loop import Loop
from swarm.callback.run import Run
from swarm.config.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.errors import SwarmError
from swarm.tensors.selection import Selection

if TYPE_CHECKING:
    from types import TracebackType

    from swarm.config import Settings
    from swarm.session import Session
    from swarm.tensors.model import Evaluator, ModelPort


class SessionFactory(Protocol):
    """Makes the session of a run; tests put their own in its place."""

    def __call__(
        self, settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger
    ) -> Session:
        """A session that has not begun; it may not ask ``port`` for anything yet."""
        ...


def open_session(settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger) -> Session:
    """A session over the transport that ``settings`` name."""
    from swarm.session import Session  # which loads the network: only a run needs it

    return Session(settings, port, evaluate=evaluate, logger=logger)


def logger_of(arguments: CallbackArguments) -> logging.Logger:
    """The user's logger, else ours."""
    return arguments.logger or logging.getLogger("swarm")


class RunningCallback:
    """A callback that trains in the swarm, one run after the other.

    The base of each framework's callback, which adds that framework's hooks. They count batches down in ``_left``,
    and call the run only when that is used up.

    As a context manager it leaves the swarm at the end of the block, if training has not ended by then. It does not
    join: ``on_train_begin`` does.
    """

    platforms: ClassVar[tuple[str, ...]]
    """The values of ``ml_platform`` that the callback serves, the first by default."""
    session_factory: ClassVar[SessionFactory] = staticmethod(open_session)

    def __init__(self, **arguments: Unpack[Arguments]) -> None:
        """Take the arguments of ``swarm.SwarmCallback``; nothing is opened before training begins.

        Raises:
            ConfigurationError: an argument is unknown or has a value that is not allowed.
        """
        self._take(parse_arguments(arguments, platforms=self.platforms))

    @classmethod
    def from_arguments(cls, arguments: CallbackArguments) -> Self:
        """A callback from arguments that are already checked."""
        callback = cls.__new__(cls)
        callback._take(arguments)  # noqa: SLF001  (of this very class)
        return callback

    def _take(self, arguments: CallbackArguments) -> None:
        """Check what concerns the framework; both ways to make a callback end here."""
        super().__init__()  # the framework's own base
        self.logger = logger_of(arguments)
        self._arguments = arguments
        self._run: Run | None = None
        self._left = 0

    @property
    def session(self) -> Session | None:
        """The session of the current or last run."""
        return None if self._run is None else self._run.session

    @property
    def swarm_over(self) -> bool:
        """Whether the session has closed, or this peer was removed from it; training then goes on alone."""
        return self._run is not None and self._run.session.over

    @property
    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, such as ``swarm_rounds`` and ``swarm_val_loss``."""
        return {} if self._run is None else dict(self._run.session.metrics())

    def __enter__(self) -> Self:
        """Open nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave at once after an error; warn and leave where ``on_train_end`` was forgotten."""
        if kind is not None:
            self.abort(f"training stopped: {kind.__name__}")
        elif self._run is not None:
            self._run.forgotten()
            self._left = 0

    def abort(self, reason: str = "training was broken off") -> None:
        """Leave the swarm at once; the model keeps its weights, and nothing happens where no run is on.

        For a script that goes on after an error in its loop: no other hook comes before the next ``on_train_begin``.
        These leave by themselves: a ``with`` block that raises, a ``fit`` that raises, a loop whose error reaches the
        end of a notebook cell, the Python prompt or the end of the script, a callback that is dropped, a process that
        ends.
        """
        if self._run is not None:
            self._run.abort(reason)

    @property
    def _selection(self) -> Selection:
        """Which tensors the port of this callback deals with."""
        settings = self._arguments.settings
        return Selection(settings.share, settings.local)

    def _open(
        self, port: ModelPort, evaluate: Evaluator | None, *, fit: Loop | None = None, scope: object | None = None
    ) -> Run:
        """A run that has not begun, in place of the last one.

        Args:
            port: the model.
            evaluate: validates the merged model.
            fit: the framework's loop, where it calls no hook when it raises; the run leaves as soon as it has ended.
            scope: that of ``Run``.

        Raises:
            ConfigurationError: another callback of this process is training as the same peer.
        """
        self.abort("a new run began with the same callback")
        settings = self._arguments.settings
        session = self.session_factory(settings, port, evaluate=evaluate, logger=self.logger)
        run = Run(
            session,
            settings,
            logger=self.logger,
            loop=fit or Loop.here(),
            counter=_Counter(self),
            watched=fit is not None,
            scope=scope,
        )
        LIVE.enter(run)
        self._run, self._left = run, 0
        return run

    def _finish(self, run: Run) -> None:
        """Go through the closing round; the next batch counted is then an error."""
        run.finish(self._left)
        self._left = 0

    def _running(self, hook: str) -> Run:
        """The run that ``hook`` is called in.

        Raises:
            SwarmError: there is none.
        """
        if self._run is None:
            raise SwarmError(f"{hook} was called before on_train_begin")
        if not self._run.live:
            why = f" ({self._run.reason})" if self._run.reason else ""
            raise SwarmError(f"{hook} was called after the run had ended{why}; on_train_begin starts a new one")
        return self._run


class _Counter:
    """The count of a callback, for its run."""

    def __init__(self, callback: RunningCallback) -> None:
        self._callback = weakref.ref(callback)

    @property
    def left(self) -> int | None:
        """Batches to the next sync point; None where the callback is gone."""
        callback = self._callback()
        return None if callback is None else callback._left  # noqa: SLF001 - of this module

    @left.setter
    def left(self, left: int | None) -> None:
        callback = self._callback()
        if callback is not None:
            callback._left = left or 0  # noqa: SLF001 - of this module

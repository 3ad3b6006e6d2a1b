"""What the callbacks of all frameworks have in common: they take the same arguments, and hold one run at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, Unpack

from swarm.callback.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.callback.run import Run
from swarm.errors import SwarmError
from swarm.selection import Selection

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.model import Evaluator, ModelPort
    from swarm.session import Session


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

    def abort(self, reason: str = "training was broken off") -> None:
        """Leave the swarm at once; the model keeps its weights, and nothing happens where no run is on.

        For a script that goes on after an error in its loop: no other hook comes before the next ``on_train_begin``.
        A ``fit`` that raises, a callback that is dropped and a process that ends leave by themselves.
        """
        if self._run is not None:
            self._run.abort(reason)
            self._left = 0

    @property
    def _selection(self) -> Selection:
        """Which tensors the port of this callback deals with."""
        settings = self._arguments.settings
        return Selection(settings.share, settings.local)

    def _open(self, port: ModelPort, evaluate: Evaluator | None, *, scope: object | None = None) -> Run:
        """A run that has not begun, in place of the last one; ``scope`` is that of ``Run``."""
        self.abort("a new run began with the same callback")
        session = self.session_factory(self._arguments.settings, port, evaluate=evaluate, logger=self.logger)
        self._run, self._left = Run(session, logger=self.logger, scope=scope), 0
        return self._run

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
            raise SwarmError(f"{hook} was called after the run had ended; on_train_begin starts a new one")
        return self._run

"""The base of every framework's callback."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from swarm.callback.live import LIVE
from swarm.callback.loop import Loop
from swarm.callback.run import Run
from swarm.callback.sessions import SessionFactory, session_over_network
from swarm.config.arguments import Arguments, CallbackArguments, parse_arguments
from swarm.config.settings import SETTINGS
from swarm.errors import ConfigurationError, SwarmError
from swarm.ranks import ONE_PROCESS, Parts
from swarm.storage.files import write_aside
from swarm.tensors.selection import Normalization, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from swarm.ranks import Ranks, SiteSession
    from swarm.records import Resumed
    from swarm.tensors.model import Correction, Evaluator, LearningRate, ModelPort
    from swarm.tensors.training import TrainingState

NEVER = sys.maxsize
"""For ``due``: the session is not called again."""


class BaseCallback:
    """Base of a framework's callback. To write an integration, subclass it and the framework's own callback class.

    Set ``platforms``. Override ``prepare`` to check the arguments and to set attributes of your own; ``arguments``,
    ``selection`` and ``logger`` are there by then. In the framework's hooks call:

    - at the start of training ``open_run`` with a ``swarm.tensors.ModelPort`` for the model, then ``join``;
    - after each batch, when no gradient is pending, the lines of ``on_batch_end`` below;
    - after each epoch ``end_epoch``;
    - where training would end after its last epoch, ``extend``: if it returns True, train another one, and ask again;
    - at the end of training ``finish``;
    - where the framework says that training failed, ``abort``.

    ::

        class MyCallback(BaseCallback, framework.Callback):
            platforms = ("MINE",)

            def on_train_begin(self):
                self.open_run(MyPort(self.model, self.selection))
                self.join()

            def on_batch_end(self):
                self.counted += 1
                if self.counted >= self.due:
                    self.sync()

            def on_epoch_end(self, epoch):
                self.end_epoch(epoch)

            def on_train_end(self):
                self.finish()

    The session counts the batches of a run. A callback only counts those since it last called the session, in
    ``counted``, and calls it when there are ``due`` of them. So a batch between two merges costs one addition.

    Register the callback with ``swarm.plugins.Integration``, whose ``create`` is ``MyCallback.from_arguments``.

    Each call of ``open_run`` is a run of its own. As a context manager the callback leaves the swarm at the end of the
    block, if training has not ended by then.
    """

    platforms: ClassVar[tuple[str, ...]]
    """The values of ``ml_platform`` that the callback serves, the first by default."""
    session_factory: ClassVar[SessionFactory] = staticmethod(session_over_network)

    knows_trainable: ClassVar[bool] = False
    """Whether it can merge the trained part of a model alone, as ``trainable_only`` asks."""
    knows_master_weights: ClassVar[bool] = False
    """Whether it merges master weights in place of those of a model in half precision."""
    averages_loss: ClassVar[bool] = False
    """Whether the loss that it gives is a mean over several batches."""

    arguments: CallbackArguments
    """The checked arguments."""
    logger: logging.Logger
    """Where the callback logs."""
    counted: int
    """Batches that the session has not been told of."""
    due: int
    """The number of batches at which to call ``sync``."""

    def __init__(self, **arguments: Unpack[Arguments]) -> None:
        """Take the arguments of ``swarm.SwarmCallback``; nothing is opened before training begins.

        Raises:
            ConfigurationError: an argument is unknown or has a value that is not allowed.
        """
        self._set_up(parse_arguments(arguments, platforms=self.platforms))

    @classmethod
    def from_arguments(cls, arguments: CallbackArguments) -> Self:
        """A callback from arguments that are already checked.

        Raises:
            ConfigurationError: an argument does not fit the framework.
        """
        callback = cls.__new__(cls)
        callback._set_up(arguments)  # noqa: SLF001  (of this very class)
        return callback

    def _set_up(self, arguments: CallbackArguments) -> None:
        super().__init__()  # the framework's own base
        self.arguments = arguments
        self.logger = arguments.logger or logging.getLogger("swarm")
        self.counted = self.due = 0
        self._run: Run | None = None
        if arguments.settings.trainable_only and not self.knows_trainable:
            raise ConfigurationError(
                f"trainable_only=True is not possible with ml_platform={arguments.settings.ml_platform!r}: name the "
                "tensors that are merged in share instead"
            )
        if arguments.master_weights is not None and not self.knows_master_weights:
            raise ConfigurationError("master_weights is for a loop in raw PyTorch: leave it out")
        self.prepare()

    # What a user calls ------------------------------------------------------------------------------------------------

    @property
    def session(self) -> SiteSession | None:
        """The session of the current or last run."""
        return None if self._run is None else self._run.session

    @property
    def swarm_over(self) -> bool:
        """Whether the session has closed, or this peer was removed from it; training then goes on alone."""
        return self._run is not None and self._run.session.over

    @property
    def all_done(self) -> bool:
        """With ``train_until="all"``: whether this peer has trained its own epochs, and all others have too.

        A loop may then end at once, in the middle of an epoch.
        """
        return self._run is not None and self._run.session.all_done

    @property
    def resumed(self) -> Resumed:
        """How much of its training this peer has done, where a run is resumed (``resume``): epochs and batches.

        False, with zeros, where none is. Where no run is open, it is what the next one resumes, as ``model_dir`` says.
        """
        if self._run is not None and self._run.live:
            return self._run.session.resumed
        from swarm.session import resumed_before

        return resumed_before(self.arguments.settings)

    @property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start; 0 for the first ones.

        For the schedule of a peer that comes later, or comes back.
        """
        return 0 if self._run is None else self._run.session.swarm_batches

    @property
    def should_stop(self) -> bool:
        """Whether training ends at all peers: by `swarm stop` at most sites, or by ``patience``.

        True from the round on in which that was agreed. A loop of your own then ends, and calls ``on_train_end``.
        """
        return self._run is not None and self._run.session.should_stop

    @property
    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, such as ``swarm_rounds`` and ``swarm_val_loss``."""
        return {} if self._run is None else dict(self._run.session.metrics())

    def __enter__(self) -> Self:
        """Open nothing: ``on_train_begin`` joins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the swarm if training has not ended: at once after an error, with a warning otherwise."""
        if kind is not None:
            self.abort(f"training stopped: {kind.__name__}")
        elif self._run is not None:
            self._run.forgotten()

    def abort(self, reason: str = "training was aborted") -> None:
        """Leave the swarm at once; the model keeps its weights. Nothing happens where no run is open.

        For a script that continues after an error in its loop. The next hook must be ``on_train_begin``. There is no
        need to call it where a ``with`` block or ``fit`` raises, where the error reaches the end of a notebook cell,
        the Python prompt or the end of the script, where the callback is dropped, or where the process ends.

        Args:
            reason: for the logs of the other peers.
        """
        if self._run is not None:
            self._run.abort(reason)

    # What an integration overrides and calls --------------------------------------------------------------------------

    def prepare(self) -> None:
        """Override: check the arguments that concern the framework, and set the attributes of the subclass.

        Raises:
            ConfigurationError: an argument does not fit the framework.
        """

    @property
    def selection(self) -> Selection:
        """Which tensors take part, for the model port."""
        settings = self.arguments.settings
        return Selection(settings.share, settings.local, Normalization(settings.normalization))

    @property
    def joined(self) -> bool:
        """Whether the current or last run has joined the swarm."""
        return self._run is not None and self._run.joined

    def open_run(
        self,
        port: ModelPort,
        evaluate: Evaluator | None = None,
        *,
        fit: Loop | None = None,
        owner: object | None = None,
        samples: int | None = None,
        agree: Mapping[str, object] | None = None,
        learning_rate: LearningRate | None = None,
        correction: Correction | None = None,
        training: TrainingState | None = None,
        ranks: Ranks = ONE_PROCESS,
    ) -> None:
        """Begin a new run, without joining the swarm; an earlier run of this callback leaves first.

        Args:
            port: the model.
            evaluate: validates the merged model after each merge.
            fit: the framework's training loop, for a framework that calls no hook when its loop raises: the run
                leaves as soon as that loop has ended.
            owner: the run leaves when this object is collected; by default the callback.
            samples: the number of training samples, where the framework knows it and the user gave none.
            agree: facts about the model that all peers must have in common; where the user's ``agree`` has one of the
                same name, that one counts.
            learning_rate: of the training, where the framework knows it.
            correction: changes the gradients of the training, where a setting asks for that and the framework can.
            training: the state of optimizers and schedules, which a resumed run gets back.
            ranks: the processes of this site, where they are several that train one model. Each of them calls this,
                and then the same methods after the same batches.

        Raises:
            ConfigurationError: another callback of this process is training as the same peer, or the weight is the
                number of training samples, which is not known.
            RanksError: the processes of this site cannot reach each other.
        """
        self.abort("a new run began with the same callback")
        settings = self.arguments.settings
        if settings.by_samples and settings.samples is None and samples is not None:
            settings = replace(settings, samples=SETTINGS["samples"].check.accept(samples))
        if agree:
            facts = {**dict(SETTINGS["agree"].check.accept(agree)), **dict(settings.agree)}
            settings = replace(settings, agree=tuple(sorted(facts.items())))
        if not settings.loopback:
            settings.require_weight()

        def make(parts: Parts) -> SiteSession:
            return self.session_factory(
                settings,
                parts.port,
                evaluate=parts.evaluate,
                learning_rate=learning_rate,
                correction=parts.correction,
                training=parts.training,
                logger=self.logger,
                **({"shards": parts.shards} if parts.shards else {}),
            )

        run = Run(
            ranks.session(make, Parts(port, evaluate, correction, training), settings, self.logger),
            settings,
            logger=self.logger,
            loop=fit or Loop.here(),
            counter=self,
            on_gone=LIVE.remove,
            watched=fit is not None,
            owner=owner,
        )
        try:
            LIVE.enter(run)
        except ConfigurationError:
            run.abort("another run of this peer is open")
            raise
        self._run = run
        self.counted = self.due = 0
        self._odd_loss = False

    def join(self) -> None:
        """Join the swarm; the model then holds the weights that all peers start from. Batches before do not count.

        Raises:
            SwarmError: as ``Session.begin``; the run has then left the swarm.
        """
        run = self.require_run("on_train_begin")
        run.begin()
        self.counted = 0
        self._ask(run)

    def sync(self, loss: object = None) -> None:
        """Tell the session of the batches counted; it merges if that is due. No gradient may be pending.

        Args:
            loss: training loss of the last batch, a number, or an array or tensor, whose mean is taken. Anything else
                is ignored, with one warning.

        Raises:
            SwarmError: no run is open.
        """
        self._tell(self.require_run("on_batch_end"), at_boundary=True, loss=self._number(loss))

    def postpone(self, batches: int) -> None:
        """Call ``sync`` that many batches later, because a gradient is pending until then."""
        self.due = self.counted + batches

    def end_epoch(self, epoch: int) -> None:
        """Note the end of an epoch, for progress; nothing is merged.

        Args:
            epoch: its number, from 0.

        Raises:
            SwarmError: no run is open.
        """
        run = self.require_run("on_epoch_end")
        if run.joined:
            self._tell(run)
            run.session.epoch_end(epoch)

    def extend(self) -> bool:
        """The own epochs are over: whether to train another one, because other peers still train theirs.

        False unless ``train_until="all"``. No gradient may be pending.

        Raises:
            SwarmError: no run is open.
        """
        run = self.require_run("extend")
        if not run.joined:
            return False
        self._tell(run)
        more = run.session.extend()
        self._ask(run)
        return more

    def finish(self) -> None:
        """Take part until every peer is done; the model then holds the swarm's closing model.

        Raises:
            SwarmError: no run is open.
            IncompleteSwarmError: ``require_members`` is set and a site is missing.
        """
        run = self.require_run("on_train_end")
        self._tell(run)
        run.finish()
        self.due = 0

    def save_result(self, suffix: str, write: Callable[[Path], object], *, writes: bool = True) -> None:
        """Write the final model in the framework's format, beside the file of the session and with its name.

        Nothing happens without such a file, or if ``framework_result`` is off. An error is logged and does not fail the
        run, as the session's file has the weights.

        Args:
            suffix: of the file, such as ``.keras``; empty for a directory.
            write: writes the model to the path that it is called with.
            writes: whether this process writes it; of several processes of a site the others only take part.
        """
        result = self.session.result if self.session else None
        if result is None or not self.arguments.settings.framework_result:
            return
        path = result.with_suffix(suffix)
        otherwise = f"; {result} has its weights. framework_result=False leaves it out"
        if self.write_model(path, write, writes=writes, otherwise=otherwise) and writes:
            self.logger.info("the same model in the format of its framework is %s", path)

    def write_model(
        self, path: Path, write: Callable[[Path], object], *, writes: bool = True, otherwise: str = ""
    ) -> bool:
        """Write a file or a directory completely or not at all; False, and an error in the log, if that fails.

        A link is replaced, not the file that it leads to.

        Args:
            path: the place of the model.
            write: writes it to the path that it is called with.
            writes: whether this process writes it; of several processes of a site the others only take part.
            otherwise: added to the error.
        """
        try:
            if writes:
                write_aside(path, write)
            else:
                write(path)
        except Exception as error:  # noqa: BLE001 - a framework may raise anything for a model that it cannot write
            text = "the model was not written to %s (%s: %s)%s"
            self.logger.error(text, path, type(error).__name__, error, otherwise)  # noqa: TRY400 - in one sentence
            return False
        return True

    def require_run(self, hook: str) -> Run:
        """Check that a run is open, which ``hook`` is called in.

        Raises:
            SwarmError: there is none; the message names ``hook``.
        """
        if self._run is None:
            raise SwarmError(f"{hook} was called before on_train_begin")
        if not self._run.live:
            why = f" ({self._run.reason})" if self._run.reason else ""
            raise SwarmError(f"{hook} was called after the run had ended{why}; on_train_begin starts a new one")
        return self._run

    def _tell(self, run: Run, *, at_boundary: bool = False, loss: float | None = None) -> None:
        """Tell the session of the batches counted, and count the next ones from 0."""
        batches, self.counted = self.counted, 0
        try:
            if batches and not run.session.over:
                run.advance(batches, at_boundary=at_boundary, loss=loss, averaged=self.averages_loss)
        finally:
            self._ask(run)

    def _ask(self, run: Run) -> None:
        """Ask the session when it has to be called next."""
        if run.live:
            self.due = NEVER if run.session.over else run.session.batches_left

    def _number(self, loss: Any) -> float | None:
        """The training loss, for display only: what is no number costs one warning, not the run."""
        if loss is None:
            return None
        try:
            if hasattr(loss, "detach"):  # torch takes no mean of integers, and warns of gradients
                loss = loss.detach().double()
            return float(loss.mean() if hasattr(loss, "mean") else loss)
        except Exception as error:  # noqa: BLE001  (a framework may raise anything for a tensor without a value)
            if not self._odd_loss:
                self._odd_loss = True
                self.logger.warning(
                    "loss is ignored, allowed are a number and a tensor: a %s was given, %s", type(loss).__name__, error
                )
            return None

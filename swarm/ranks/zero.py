"""Rank 0 of a site of several processes: it takes part in the swarm, and tells the others what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from swarm.errors import RanksError
from swarm.ranks.agreed import Agreed, said_of
from swarm.ranks.arriving import send
from swarm.ranks.evaluation import evaluate_together
from swarm.ranks.group import ProcessGroup
from swarm.ranks.instructions import Kind, tell
from swarm.ranks.same import require_same
from swarm.tensors.model import Correction, Evaluation, ModelPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.config import Settings
    from swarm.ranks.base import MakeSession, Parts
    from swarm.records import RoundReport
    from swarm.tensors.state import Array, ModelState, Schema

LONGEST_SILENCE = 1.0
"""Seconds after which rank 0 says at the latest that it still waits; sooner where the group has a short time-out. It
notices so that another process is gone."""
LEAVES = "a process of this site is gone"
"""The reason for the logs of other sites; what this one knows about its own machines is not theirs to know."""

Result = TypeVar("Result")


class Voice:
    """Tells the other processes what to do. While a call waits for the swarm, a thread tells them to wait.

    They wait in a collective operation of theirs, which has a time-out.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self._lock = threading.Lock()

    @contextmanager
    def telling(self, kind: Kind, content: dict[str, object] | None = None) -> Iterator[ProcessGroup]:
        """Send an instruction; what belongs to it is done in the block, and nothing else is sent meanwhile.

        Raises:
            RanksError: a process is gone.
        """
        with self._lock:
            tell(self.group, kind, content)
            yield self.group

    @contextmanager
    def waiting(self, lost: Callable[[RanksError], None]) -> Iterator[None]:
        """Tell the others to wait, again and again, until the block ends.

        Args:
            lost: called on another thread if a process is gone.
        """
        over = threading.Event()
        pause = min(LONGEST_SILENCE, self.group.time_out / 4)

        def keep_telling() -> None:
            try:
                while not over.wait(pause):
                    with self._lock:
                        if not over.is_set():
                            tell(self.group, Kind.WAIT)
            except RanksError as error:
                lost(error)

        thread = threading.Thread(target=keep_telling, name="swarm-ranks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class RankZeroPort(ModelPort):
    """The model of all processes of a site, which are told what is done to it."""

    def __init__(self, port: ModelPort, voice: Voice, *, sharded: bool) -> None:
        """Nothing is read before the schema is set.

        Args:
            port: the model of this process.
            voice: tells the others.
            sharded: whether each process has only a part of the model.
        """
        self._port = port
        self._voice = voice
        self._sharded = sharded
        self.agreed: Schema | None = None
        """The tensors that take part, which are the same in all processes."""

    def schema(self) -> Schema:
        return self._port.schema() if self.agreed is None else self.agreed

    def read(self, into: ModelState) -> None:
        with self._voice.telling(Kind.READ) if self._sharded else nullcontext():
            self._port.read(into)

    def borrow(self, schema: Schema) -> Sequence[Array] | None:
        return None if self._sharded else self._port.borrow(schema)

    def write(self, state: ModelState) -> None:
        self._spread(Kind.WRITE, state)
        self._port.write(state)

    def update(self, state: ModelState) -> None:
        self._spread(Kind.UPDATE, state)
        self._port.update(state)

    def add(self, step: ModelState) -> None:
        self._spread(Kind.ADD, step)
        self._port.add(step)

    def _spread(self, kind: Kind, state: ModelState) -> None:
        with self._voice.telling(kind) as group:
            send(group, state)


class RankZeroCorrection(Correction):
    """Changes the gradients in all processes of a site."""

    def __init__(self, correction: Correction, voice: Voice) -> None:
        self._correction = correction
        self._voice = voice

    def follow(self, committed: ModelState, *, unmerged: int) -> None:
        with self._voice.telling(Kind.FOLLOW, {"unmerged": unmerged}) as group:
            send(group, committed)
        self._correction.follow(committed, unmerged=unmerged)

    def stop(self) -> None:
        """Stop here; the other processes stop theirs at the end of their own session."""
        self._correction.stop()


class RankZeroSession(Agreed):
    """The session that takes part in the swarm, and the same calls in the other processes."""

    def __init__(
        self,
        group: ProcessGroup,
        make: MakeSession,
        parts: Parts,
        settings: Settings,
        logger: logging.Logger,
        *,
        sharded: bool,
    ) -> None:
        super().__init__()
        self._group = group
        self._log = logger
        self._parts = parts
        self._settings = settings
        self._sharded = sharded
        self._voice = Voice(group)
        self._port = RankZeroPort(parts.port, self._voice, sharded=sharded)
        self._in_call = False
        self._lost: RanksError | None = None
        correction = RankZeroCorrection(parts.correction, self._voice) if parts.correction else None
        evaluate = self._evaluate if parts.evaluate else None
        self.session = make(parts._replace(port=self._port, evaluate=evaluate, correction=correction))
        """The one that takes part in the swarm."""

    @property
    def uncounted(self) -> Callable[[], int]:
        """Batches that the session has not been told of."""
        return self.session.uncounted

    @uncounted.setter
    def uncounted(self, batches: Callable[[], int]) -> None:
        self.session.uncounted = batches

    def status(self) -> dict[str, Any]:
        """As ``Session.status``; nothing is told."""
        return self.session.status()

    def begin(self) -> None:
        """Join the session. All processes then have the weights that its peers start from.

        Raises:
            SwarmError: as ``Session.begin``, in all processes; or a process has another model or other settings.
        """
        self._port.agreed = require_same(self._group, self._parts, self._settings, sharded=self._sharded)
        self._lead(self.session.begin)
        self._log.info("%d processes train here, and rank 0 takes part in the swarm for all", self._group.size)

    def advance(
        self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None, averaged: bool = False
    ) -> RoundReport | None:
        """As ``Session.advance``; all processes call it after the same batch."""
        self._count(batches)
        if not at_boundary or self.over:
            return self.session.advance(batches, at_boundary=False)
        return self._lead(lambda: self.session.advance(batches, loss=loss, averaged=averaged))

    def epoch_end(self, epoch: int) -> None:
        """As ``Session.epoch_end``; nothing is told."""
        self.session.epoch_end(epoch)

    def extend(self) -> bool:
        """As ``Session.extend``, in all processes."""
        return self._lead(self.session.extend)

    def end(self) -> None:
        """As ``Session.end``, in all processes."""
        self._lead(self.session.end)
        self._part()

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        """Leave at once; another process that waits for this one gets an error."""
        self._gone = True
        self.session.abort(reason, unintended=unintended)
        if not self._in_call:
            self._group.close()

    def _lead(self, call: Callable[[], Result]) -> Result:
        """Make a call for all processes, and tell them how it ended."""
        self._in_call = True
        try:
            with self._voice.waiting(self._lose):
                result = call()
            if self._lost:
                raise self._lost
            self._agree(said := said_of(self.session))
            with self._voice.telling(Kind.DONE, {**said, "returned": result if isinstance(result, bool) else None}):
                return result
        except RanksError:
            self._gone = True
            self.session.abort(LEAVES, unintended=True)
            raise
        except BaseException as error:
            with suppress(RanksError), self._voice.telling(Kind.FAILED, _described(error)):
                pass
            raise
        finally:
            self._in_call = False

    def _lose(self, error: RanksError) -> None:
        """A process is gone while the call waits: leave, so that the call ends."""
        self._lost = error
        self.session.abort(LEAVES, unintended=True)

    def _evaluate(self) -> Evaluation:
        with self._voice.telling(Kind.EVALUATE) as group:
            found = evaluate_together(group, self._parts.evaluate)
        if found is None:
            raise RanksError("the processes of this site have no result of the validation")
        return found

    def _part(self) -> None:
        """Close the connections, once all processes have heard the end."""
        with suppress(RanksError):
            self._group.gather(b"")
        self._group.close()


def _described(error: BaseException) -> dict[str, object]:
    return {"error": type(error).__name__, "text": str(error)}

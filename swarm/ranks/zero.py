"""The session of rank 0 of a site of several processes: it takes part in the swarm for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from swarm.errors import RanksError
from swarm.ranks.agreed import Agreed, said_of
from swarm.ranks.base import Parts
from swarm.ranks.evaluation import evaluate_together
from swarm.ranks.group import ProcessGroup
from swarm.ranks.instructions import Kind
from swarm.ranks.same import require_same
from swarm.ranks.voice import Voice
from swarm.ranks.zero_parts import RankZeroCorrection, RankZeroPort, RankZeroTraining
from swarm.tensors.model import Evaluation

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.ranks.base import MakeSession
    from swarm.records import RoundReport

LEAVES = "a process of this site is gone"
"""The reason for the logs of other sites; what this one knows about its own machines is not theirs to know."""

Result = TypeVar("Result")


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
        self._in_call = False
        self._lost: RanksError | None = None
        correction = RankZeroCorrection(parts.correction, self._voice) if parts.correction else None
        evaluate = self._evaluate if parts.evaluate else None
        training = RankZeroTraining(parts.training, self._voice) if parts.training else None
        self.session = make(self._parts_of_all(Parts(parts.port, evaluate, correction, training)))
        """The one that takes part in the swarm."""

    def _parts_of_all(self, parts: Parts) -> Parts:
        """What the session works on: the model of all processes."""
        self._port = RankZeroPort(parts.port, self._voice, sharded=self._sharded)
        return parts._replace(port=self._port)

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
        self._meet()
        self._lead(self._begin)
        if self._group.size > 1:
            self._log.info("%d processes train here, and rank 0 takes part in the swarm for all", self._group.size)

    def _begin(self) -> None:
        """The part of ``begin`` during which the other processes wait for what rank 0 says."""
        self.session.begin()

    def _meet(self) -> None:
        """Compare the models and settings of the processes."""
        self._port.agreed = require_same(self._group, self._parts, self._settings, sharded=self._sharded)

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

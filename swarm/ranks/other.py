"""The other ranks of a site of several processes: they do to their model what rank 0 does to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm import errors
from swarm.errors import ModelError, RanksError, SwarmError
from swarm.ranks.agreed import Agreed
from swarm.ranks.arriving import receive
from swarm.ranks.evaluation import evaluate_together
from swarm.ranks.group import ProcessGroup
from swarm.ranks.instructions import Instruction, Kind, hear
from swarm.ranks.same import require_same
from swarm.storage.training import unpacked
from swarm.tensors.state import numpy_dtype

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.ranks.base import Parts
    from swarm.records import RoundReport
    from swarm.tensors.state import ModelState, Schema


class OtherRankSession(Agreed):
    """The part of a process in the session of its site. It opens no port and writes no file.

    Each call that rank 0 makes for all waits here for what rank 0 says, and does that, until rank 0 says that the call
    is over.
    """

    def __init__(
        self, group: ProcessGroup, parts: Parts, settings: Settings, *, give: Callable[[], None] | None
    ) -> None:
        super().__init__()
        self._group = group
        self._parts = parts
        self._settings = settings
        self._give = give
        self.uncounted: Callable[[], int] = lambda: 0
        self._schema: Schema | None = None
        self._in_call = False

    def begin(self) -> None:
        """Take part in the begin.

        Raises:
            SwarmError: what rank 0 raised.
        """
        self._meet()
        self._follow()

    def _meet(self) -> None:
        """Compare the models and settings of the processes."""
        self._schema = require_same(self._group, self._parts, self._settings, sharded=self._give is not None)

    def advance(
        self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None, averaged: bool = False
    ) -> RoundReport | None:
        """Count the batches, and take part where a merge may be due. The report is that of rank 0, so None here."""
        self._count(batches)
        if at_boundary and not self.over:
            self._follow()
        return None

    def epoch_end(self, epoch: int) -> None:
        """Nothing: rank 0 notes the progress."""

    def extend(self) -> bool:
        """What rank 0 found: whether to train another epoch."""
        return bool(self._follow())

    def end(self) -> None:
        """Take part in the end.

        Raises:
            SwarmError: what rank 0 raised.
        """
        self._follow()
        self._stop()
        with suppress(RanksError):
            self._group.gather(b"")
        self._group.close()

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        """Take no further part; rank 0 finds that out, and takes the site out of the swarm."""
        self._gone = True
        self._stop()
        if not self._in_call:
            self._group.close()

    def status(self) -> dict[str, Any]:
        """Nothing: rank 0 has a status."""
        return {}

    def _stop(self) -> None:
        if self._parts.correction:
            self._parts.correction.stop()

    def _follow(self) -> Any:
        """Do what rank 0 says, until its call is over; the value that it returned there."""
        self._in_call = True
        try:
            while True:
                instruction = hear(self._group)
                if instruction.kind is Kind.DONE:
                    self._agree(instruction.content)
                    return instruction.content["returned"]
                self._do(instruction)
        except RanksError:
            self._gone = True
            raise
        finally:
            self._in_call = False

    def _do(self, instruction: Instruction) -> None:
        kind, content, port = instruction.kind, instruction.content, self._parts.port
        match kind:
            case Kind.WAIT:
                pass
            case Kind.READ:
                if self._give:
                    self._give()
            case Kind.WRITE:
                self._receive(port.write)
            case Kind.UPDATE:
                self._receive(port.update)
            case Kind.ADD:
                self._receive(port.add, wide=True)
            case Kind.FOLLOW:
                self._receive(lambda model: self._correct(model, content["unmerged"]))
            case Kind.EVALUATE:
                evaluate_together(self._group, self._parts.evaluate)
            case Kind.TRAINING:
                self._resume(content)
            case Kind.FAILED:
                raise _error(content)
            case Kind.DONE | Kind.GATHER | Kind.KEEP_TRAINING:
                raise AssertionError(kind)

    def _correct(self, model: ModelState, unmerged: int) -> None:
        if self._parts.correction:
            self._parts.correction.follow(model, unmerged=unmerged)

    def _resume(self, content: Mapping[str, Any]) -> None:
        tensors = {name: np.empty(shape, numpy_dtype(dtype)) for name, (shape, dtype) in content["arrays"].items()}
        for array in tensors.values():
            self._group.share(array)
        if self._parts.training:
            with suppress(ModelError):  # rank 0 has the same one, and logs it
                self._parts.training.write(unpacked(content["state"], tensors))

    def _receive(self, take: Callable[[ModelState], None], *, wide: bool = False) -> None:
        """Take the model that rank 0 sends; what is not taken is received all the same."""
        if self._schema is None:
            raise ValueError("nothing is sent before the begin")
        model = receive(self._group, self._schema, wide=wide)
        take(model)
        for _ in model.arrays():
            pass


def _error(content: Mapping[str, Any]) -> SwarmError:
    """The error that rank 0 raised: of its own class where that is one of ours."""
    kind = getattr(errors, content["error"], None)
    if isinstance(kind, type) and issubclass(kind, SwarmError):
        with suppress(TypeError):
            return kind(content["text"])
    return RanksError(f"rank 0 of this site failed: {content['error']}: {content['text']}")

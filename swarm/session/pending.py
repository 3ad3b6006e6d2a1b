"""The answer to an offer, waited for on the training thread or in the background."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from swarm.executor import Executor, Future, Queue, Work
from swarm.peer.futures import Answer, AnswerKind
from swarm.session.arithmetic import difference, joint, measure
from swarm.tensors.capture import faulty, has_stepped
from swarm.tensors.state import ModelState, has_nan

if TYPE_CHECKING:
    from swarm.peer.engine import Engine
    from swarm.records import ContributionStats
    from swarm.tensors.capture import Capture
    from swarm.tensors.shards import ShardMeasurement


def measured(stats: ContributionStats, capture: Capture, reference: ModelState | None) -> ContributionStats:
    """``stats`` with what must be computed from the capture.

    That is which capture it is, whether its weights are finite, how far they have moved from ``reference``, and whether
    the optimizer has state to merge.
    """
    found = joint(measure(capture, reference), others_of(capture, reference))
    return replace(
        stats,
        root=found.root,
        finite=found.finite,
        delta_norm=found.norm,
        nan_state=reference is None and has_nan(capture.side),
        moments=not stats.status.finished and has_stepped(capture) and found.moments_finite,
    )


def others_of(capture: Capture, reference: ModelState | None) -> list[ShardMeasurement]:
    """What the other processes of the site find of their shards of a capture; empty where this process has it all."""
    others = capture.others if isinstance(capture, ModelState) else None
    return others.measure(reference.others if reference else None) if others else []


def odd_tensors(capture: Capture, reference: ModelState | None = None) -> tuple[str, ...]:
    """Names of the tensors that prevent a merge of the capture, in whichever process of the site."""
    names = [*faulty(capture, reference)]
    for each in others_of(capture, reference):
        names += [name for name in each.odd if name not in names]
    return tuple(names)


class Background:
    """A thread for slow work. It ends when this object is no longer referenced.

    There is one for the whole session: starting a thread for each round would delay the training.
    """

    def __init__(self, executor: Executor) -> None:
        self._work: Queue[Work | None] = Queue(executor)
        executor.start("swarm-overlap", partial(_work_off, self._work))
        weakref.finalize(self, self._work.put, None)

    def post(self, work: Work) -> None:
        """Run ``work``, which must not raise, after the work that was posted before."""
        self._work.put(work)


def _work_off(todo: Queue[Work | None]) -> None:
    while work := todo.get():
        work()
        del work


class PendingAnswer:
    """An offer, and the answer to it.

    With a background, all slow work happens there: measuring the capture, the round itself, and computing the
    difference that will be added to the model. The training thread only checks whether the answer is ready.
    """

    def __init__(
        self,
        engine: Engine,
        capture: Capture,
        stats: ContributionStats,
        executor: Executor,
        background: Background | None,
        *,
        spends: bool = True,
    ) -> None:
        """Offer ``capture``, which then belongs to this object until the answer is ready.

        ``spends`` tells whether its memory may be used for ``step``.
        """
        self.finite = True
        """Whether the capture may be merged."""
        self.odd: tuple[str, ...] = ()
        """Names of the tensors that hold NaN or infinity."""
        self.spent = False
        """Whether the memory of the capture was used for ``step``."""
        self._engine = engine
        self._spends = spends
        self.capture = capture
        """What was offered; its weights are no longer those if ``spent``."""
        self._stats = stats
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._done: Future[bool] = Future(executor)
        if background:
            background.post(self._find_out)
        else:
            self._ask()
            self._done.set(True)

    @property
    def ready(self) -> bool:
        """Whether ``wait`` returns at once."""
        return self._done.done

    def wait(self) -> Answer:
        """The answer. The state machine of the rounds limits the wait."""
        self._done.wait()
        if self._error:
            raise self._error
        return self._known

    @property
    def merged(self) -> bool:
        """Whether the steps in the capture are in the committed model."""
        if self._known.idle:
            return False
        return self._known.kind is not AnswerKind.HEALED or self._known.before is self.capture

    @property
    def idle(self) -> bool:
        """Whether the model stays unchanged: the round merged nothing, and the capture is finite."""
        return self._known.idle and self.finite

    @property
    def replaces(self) -> bool:
        """Whether the committed model replaces the local one, without local steps."""
        return self._known.model is None or self._known.closing or self._before is None

    @cached_property
    def step(self) -> ModelState:
        """What to add to the model with ``ModelPort.add``, so that it becomes the committed one plus local steps."""
        before, model = self._before, self._known.model
        if before is None or model is None:
            raise ValueError("there is no difference without two models")
        own = self.capture if self._spends and isinstance(self.capture, ModelState) else None
        self.spent = own is not None and not self._engine.pending
        return difference(model, before, into=own if self.spent else None)

    @property
    def _known(self) -> Answer:
        if self._answer is None:
            raise ValueError("there is no answer yet")
        return self._answer

    @property
    def _before(self) -> Capture | None:
        return self.capture if self.merged else self._known.before

    def _ask(self) -> None:
        engine = self._engine
        stats = measured(self._stats, self.capture, engine.reference)
        self.finite = stats.finite
        if not self.finite:
            self.odd = odd_tensors(self.capture, engine.reference)
        self._answer = engine.offer(self.capture, stats)

    def _find_out(self) -> None:
        try:
            self._ask()
            if not self.idle and not self.replaces and self.finite:
                _ = self.step
        except Exception as error:  # noqa: BLE001  (raised again on the training thread)
            self._error = error
        finally:
            self._done.set(True)

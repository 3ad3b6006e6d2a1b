"""The processes of a site, as the callback in one of them sees them; and a site of one process."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.records import Resumed, RoundReport
    from swarm.session.shards import SiteShards
    from swarm.tensors.model import Correction, Evaluator, ModelPort
    from swarm.tensors.training import TrainingState


class SiteSession(Protocol):
    """What a callback calls: ``swarm.session.Session``, or the part in it of one of several processes."""

    uncounted: Callable[[], int]
    """Batches that the session has not been told of, for its status."""

    @property
    def over(self) -> bool:
        """Whether the session is closed, or this peer is no longer part of it."""

    @property
    def all_done(self) -> bool:
        """With ``train_until="all"``: whether no peer needs more training."""

    @property
    def should_stop(self) -> bool:
        """Whether the swarm has agreed that training ends (``patience``, ``swarm stop``)."""

    @property
    def batches_left(self) -> int:
        """Local batches until ``advance`` has something to do."""

    @property
    def round(self) -> int | None:
        """The number of the last committed round; None before the first."""

    @property
    def resumed(self) -> Resumed:
        """How much of its training this peer had done when the checkpoint was written that it resumes from."""

    @property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start."""

    @property
    def result(self) -> Path | None:
        """The file of the model that this peer ended with; None before that, and without a model directory."""

    def begin(self) -> None:
        """Join the session, and load the weights that its peers start from."""

    def advance(
        self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None, averaged: bool = False
    ) -> RoundReport | None:
        """Count local batches, and merge where that is due."""

    def epoch_end(self, epoch: int) -> None:
        """Note the end of an epoch."""

    def extend(self) -> bool:
        """The own epochs are over: whether to train another one."""

    def end(self) -> None:
        """Take part until all peers are done, and load the closing model."""

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        """Leave at once."""

    def metrics(self) -> dict[str, float]:
        """Metrics of the swarm so far."""

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows; empty in a process that takes no part in the swarm itself."""


class Parts(NamedTuple):
    """What a session works on in this process."""

    port: ModelPort
    evaluate: Evaluator | None = None
    correction: Correction | None = None
    training: TrainingState | None = None
    shards: SiteShards | None = None


MakeSession = Callable[[Parts], SiteSession]
"""Makes a session that takes part in the swarm. It has not begun, and may not ask its port for anything yet."""


class Ranks(ABC):
    """The processes of a site."""

    @abstractmethod
    def session(self, make: MakeSession, parts: Parts, settings: Settings, logger: logging.Logger) -> SiteSession:
        """The session of this process; all processes of the site call this, and then the same methods of it.

        Args:
            make: makes the one that takes part in the swarm.
            parts: the model of this process.
            settings: of the peer.
            logger: where to report.

        Raises:
            RanksError: the processes of the site cannot reach each other.
        """

"""What all processes of a site have in common between two calls of their sessions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.records import NOT_RESUMED, Resumed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swarm.ranks.base import SiteSession


class Agreed:
    """What rank 0 said of the session at the end of the last call, and the batches since."""

    def __init__(self) -> None:
        self._over = self._all_done = self._should_stop = False
        self._left = self._since = self._swarm_batches = 0
        self._round: int | None = None
        self._resumed = NOT_RESUMED
        self._result: Path | None = None
        self._metrics: dict[str, float] = {}
        self._gone = False
        """Whether this process has left by itself."""

    @property
    def over(self) -> bool:
        """Whether the session is closed, or this peer is no longer part of it."""
        return self._over or self._gone

    @property
    def all_done(self) -> bool:
        """With ``train_until="all"``: whether no peer needs more training."""
        return self._all_done

    @property
    def should_stop(self) -> bool:
        """Whether the swarm has agreed that training ends (``patience``, ``swarm stop``)."""
        return self._should_stop

    @property
    def batches_left(self) -> int:
        """Local batches until ``advance`` has something to do."""
        return max(self._left - self._since, 0)

    @property
    def round(self) -> int | None:
        """The number of the last committed round; None before the first."""
        return self._round

    @property
    def resumed(self) -> Resumed:
        """How much of its training this peer had done when the checkpoint was written that it resumes from."""
        return self._resumed

    @property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start."""
        return self._swarm_batches

    @property
    def result(self) -> Path | None:
        """The file of the model that this peer ended with; None before that, and without a model directory."""
        return self._result

    def metrics(self) -> dict[str, float]:
        """Metrics of the swarm at the end of the last call, the same in all processes of the site."""
        return dict(self._metrics)

    def _count(self, batches: int) -> None:
        self._since += batches

    def _agree(self, said: Mapping[str, Any]) -> None:
        """Take over what ``said_of`` has said of the session."""
        self._over, self._all_done, self._should_stop = said["over"], said["all_done"], said["should_stop"]
        self._left, self._round, self._swarm_batches = said["left"], said["round"], said["swarm_batches"]
        self._resumed = Resumed(**said["resumed"])
        self._result = Path(said["result"]) if said["result"] else None
        self._metrics = said["metrics"]
        self._since = 0


def said_of(session: SiteSession) -> dict[str, Any]:
    """What rank 0 says of its session, in JSON types."""
    return {
        "over": session.over,
        "all_done": session.all_done,
        "should_stop": session.should_stop,
        "left": session.batches_left,
        "round": session.round,
        "resumed": asdict(session.resumed),
        "swarm_batches": session.swarm_batches,
        "result": str(session.result or ""),
        "metrics": session.metrics(),
    }

"""How a callback gets the session of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.ranks import SiteSession
    from swarm.session import Session
    from swarm.session.shards import SiteShards
    from swarm.tensors.model import Correction, Evaluator, LearningRate, ModelPort
    from swarm.tensors.training import TrainingState


class SessionFactory(Protocol):
    """Makes the session of a run; tests put their own in its place."""

    def __call__(
        self,
        settings: Settings,
        port: ModelPort,
        *,
        evaluate: Evaluator | None,
        learning_rate: LearningRate | None,
        correction: Correction | None,
        training: TrainingState | None,
        logger: logging.Logger,
        shards: SiteShards | None = None,
    ) -> SiteSession:
        """A session that has not begun; it may not ask ``port`` for anything yet.

        ``shards`` is given where each process of a site exchanges its own shard.
        """
        ...


def session_over_network(
    settings: Settings,
    port: ModelPort,
    *,
    evaluate: Evaluator | None,
    learning_rate: LearningRate | None,
    correction: Correction | None,
    training: TrainingState | None,
    logger: logging.Logger,
    shards: SiteShards | None = None,
) -> Session:
    """A session over the transport that ``settings`` name."""
    from swarm.session import Session  # which loads the network: only a run needs it

    return Session(
        settings,
        port,
        evaluate=evaluate,
        learning_rate=learning_rate,
        correction=correction,
        training=training,
        logger=logger,
        shards=shards,
    )

"""A training script as type checkers see it: mypy, which ``make lint`` runs, holds the types that it states."""

from __future__ import annotations

import logging
from typing import assert_type

import swarm
from swarm import SwarmCallback


def train(model: object) -> dict[str, float]:
    """Train for two batches."""
    with SwarmCallback(model=model, sync_interval=2) as callback:
        assert_type(callback, SwarmCallback)
        assert_type(callback.metrics, dict[str, float])
        assert_type(callback.swarm_over, bool)
        assert_type(callback.logger, logging.Logger)
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_batch_end(1, loss=0.5)
        callback.on_epoch_end(0)
        callback.on_train_end()
        callback.abort("too late")
        callback.on_batches_end()  # type: ignore[attr-defined]
    swarm.SwarmCallback(sync_intervall=2)  # type: ignore[call-arg]
    return callback.metrics

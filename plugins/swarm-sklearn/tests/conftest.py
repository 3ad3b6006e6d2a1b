"""A swarm of estimators in one process: real sessions in threads, and a network in memory."""

from __future__ import annotations

import logging
import os
from functools import partial

import numpy as np
import pytest

from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.swarm import Board, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from swarm_sklearn import SwarmTrainer

FIRST = {"listen": "127.0.0.1:0", "sync_interval": 2}


class Hospitals:
    """Makes trainers whose sessions meet in memory, and trains them together."""

    def __init__(self):
        self.network, self.addresses = MemoryNetwork(), {}

    def trainer(self, name, estimator, **settings):
        lines = logging.Logger(name)  # noqa: LOG001 - each peer's own
        trainer = SwarmTrainer(estimator, name=name, logger=lines, **(FIRST | settings))
        trainer.callback.session_factory = self._session
        return trainer

    def _session(self, settings, port, *, evaluate, learning_rate, correction, training, logger):
        board = Board(self.addresses, settings.model_name)
        return Session(
            settings,
            port,
            evaluate=evaluate,
            learning_rate=learning_rate,
            correction=correction,
            training=training,
            logger=logger,
            network=lambda _settings, _plugins: Network(MemoryTransport(self.network), [board]),
        )

    def fit(self, estimators, parts, *, classes=None, epochs=1, batch_size=8, **settings):
        """Train one estimator per part of the data, each as a site."""
        settings = {"world_size": len(estimators), **settings}
        trainers = [self.trainer(f"site-{n}", each, **settings) for n, each in enumerate(estimators)]
        fit = {"classes": classes, "epochs": epochs, "batch_size": batch_size}
        return together(*(partial(trainer.fit, *part, **fit) for trainer, part in zip(trainers, parts, strict=True)))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SWARM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def hospitals():
    return Hospitals()


@pytest.fixture
def patients():
    """120 samples of four features in three classes."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 120)
    x = rng.normal(size=(120, 4)) * [1, 2, 0.5, 3] + np.outer(y, [2, -1, 0.5, 1]) + 40
    return x, y


@pytest.fixture
def two_parts(patients):
    """Sites of different sizes; the first one has only two of the three classes."""
    x, y = patients
    first = np.flatnonzero(y < 2)[:30]
    rest = np.setdiff1d(np.arange(len(y)), first)
    return [(x[first], y[first]), (x[rest], y[rest])]

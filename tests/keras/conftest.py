"""A session that records instead of networking, and the data and models the Keras tests share.

The backend is chosen outside: ``KERAS_BACKEND=jax pytest tests/keras``.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from swarm.callback import parse_arguments
from swarm.records import NOT_RESUMED, Resumed
from swarm.tensors.state import ModelState
from swarm_keras import SwarmCallback

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.tensors.model import Evaluation, Evaluator, ModelPort


@dataclass
class RecordingSession:
    """Counts as a real session does, and merges by ``merge`` or not at all."""

    settings: Any
    port: ModelPort
    evaluate: Evaluator | None
    logger: Any
    interval: int = 4
    merge: Callable[[ModelState], None] | None = None
    on_begin: Callable[[], None] | None = None
    calls: list[Any] = field(default_factory=list)
    merged_at: list[int] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    batches: int = 0
    since_merge: int = 0
    over: bool = False
    others_warn: bool = False
    learning_rate: Any = None
    training: Any = None
    resumed: Resumed = NOT_RESUMED
    swarm_batches: int = 0
    result: Any = None
    stops_after: int | None = None
    """Rounds after which the swarm ends the training; None: it does not."""

    @property
    def should_stop(self) -> bool:
        return self.stops_after is not None and len(self.merged_at) >= self.stops_after

    @property
    def batches_left(self) -> int:
        return self.interval - self.since_merge

    def begin(self) -> None:
        if self.on_begin is not None:
            self.on_begin()
        self.calls.append("begin")
        self.state = ModelState.empty(self.port.schema())
        self._validate()

    def advance(
        self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None, averaged: bool = False
    ) -> None:
        self.batches += batches
        self.since_merge += batches
        self.losses.append(loss)
        if at_boundary and self.since_merge >= self.interval:
            self.since_merge = 0
            self.merged_at.append(self.batches)
            self._merge()

    def epoch_end(self, epoch: int) -> None:
        self.calls.append(("epoch_end", epoch))

    def end(self) -> None:
        self.calls.append("end")
        self._merge()
        self.over = True

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        self.others_warn = unintended
        self.calls.append(("abort", reason))

    def metrics(self) -> dict[str, float]:
        loss = {"swarm_val_loss": self.evaluations[-1].loss} if self.evaluations else {}
        return {"swarm_rounds": float(len(self.merged_at)), **loss}

    def _merge(self) -> None:
        self.port.read(self.state)
        if self.merge is not None:
            self.merge(self.state)
            self.port.write(self.state)
        self._validate()

    def _validate(self) -> None:
        if self.evaluate is not None:
            try:
                self.evaluations.append(self.evaluate())
            except Exception as error:  # noqa: BLE001 - as the real one does
                self.errors.append(error)


@dataclass
class Swarm:
    """Makes callbacks whose sessions are recorded in ``sessions``."""

    sessions: list[RecordingSession] = field(default_factory=list)

    def callback(self, *, interval: int = 4, merge: Any = None, begin: Any = None, **arguments: Any) -> SwarmCallback:
        def factory(
            settings: Any, port: Any, *, evaluate: Any, learning_rate: Any, correction: Any, training: Any, logger: Any
        ) -> RecordingSession:
            session = RecordingSession(settings, port, evaluate, logger, interval, merge, begin)
            session.learning_rate = learning_rate
            session.training = training
            self.sessions.append(session)
            return session

        parsed = parse_arguments({"loopback": True, **arguments}, platforms=SwarmCallback.platforms)
        callback = SwarmCallback.from_arguments(parsed)
        callback.session_factory = factory
        return callback

    @property
    def session(self) -> RecordingSession:
        return self.sessions[-1]


@pytest.fixture(autouse=True)
def _separate_addresses(separate_addresses: None) -> None:
    """Several peers of a test are in one process."""


@pytest.fixture(scope="session", autouse=True)
def _compile_each_program_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reuses models, because JAX would spend most of the time on compiling them again."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


@pytest.fixture
def xy() -> tuple[np.ndarray, np.ndarray]:
    """Forty samples: ten batches of four."""
    generator = np.random.default_rng(7)
    x = generator.normal(size=(40, 6)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.float32)[:, None]


@pytest.fixture
def make_model() -> Callable[..., Any]:
    def make(**compile_arguments: Any) -> Any:
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "binary_crossentropy", **compile_arguments})
        return model

    return make

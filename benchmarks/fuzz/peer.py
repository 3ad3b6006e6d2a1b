"""The peer that is fuzzed as a whole: ``python -m benchmarks.fuzz.peer``.

It trains with the default transport. A session that others have ended, as whoever is no member may do while peers do
not prove who they are, is followed by a new one at the same address.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import Any

import numpy as np

from benchmarks.harness.workers import connect
from swarm.config import resolve
from swarm.errors import SwarmError
from swarm.session import Session
from swarm.tensors.state import TensorKind
from swarm.testing.swarm import ArrayModel
from tests.fuzz import examples

BATCH = 0.01
"""Seconds."""
MOST_KEPT = 20


class Errors(logging.Handler):
    """Keeps the first exceptions that were logged: Swarm logs one where it contains an error that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.add("".join(traceback.format_exception(record.exc_info[1])))

    def add(self, text: str) -> None:
        """Keep the end of one that was not seen yet."""
        text = text[-2000:]
        if text not in self.found and len(self.found) < MOST_KEPT:
            self.found.append(text)


class Training:
    """Sessions, one after the other, on a thread."""

    def __init__(self, address: str, other: str, errors: Errors) -> None:
        given = {
            "name": "rome",
            "model_name": examples.SESSION,
            "listen": address,
            "peers": [other],
            "min_peers": 1,
            "sync_interval": 1,
            "failure_timeout": 1.0,
            "straggler_timeout": 0.2,
            "start_timeout": 5.0,
        }
        self._settings = resolve(given, environment={}).settings
        self._errors = errors
        self.sessions = 0
        self.rounds = 0
        threading.Thread(target=self._run, name="training", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._train()
            except SwarmError:
                pass  # others may refuse this peer, and contradict its settings
            except Exception as error:  # noqa: BLE001 - told in the report
                self._errors.add("".join(traceback.format_exception(error)))
            time.sleep(BATCH)

    def _train(self) -> None:
        arrays: dict[str, Any] = {
            "conv.weight": np.ones((4, 3), np.float32),
            "bn.running_mean": np.zeros(4, np.float32),
            "bn.running_var": np.ones(4, np.float32),
            "bn.num_batches_tracked": np.array(0),
        }
        kinds = (TensorKind.WEIGHT, TensorKind.MEAN, TensorKind.VARIANCE, TensorKind.COUNTER)
        model = ArrayModel(arrays, dict(zip(arrays, kinds, strict=True)))
        session = Session(self._settings, model)
        session.begin()
        self.sessions += 1
        weight: Any = model.arrays["conv.weight"]
        try:
            while not session.over:
                np.add(weight, 0.01, out=weight)
                self.rounds += session.advance() is not None
                time.sleep(BATCH)
        finally:
            session.abort("a new session follows")


def main() -> None:
    """Begin with the first order, then report what was logged."""
    orders, answer = connect()
    errors = Errors()
    logger = logging.getLogger("swarm")
    logger.addHandler(errors)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    threading.excepthook = lambda thread: errors.add(
        "".join(traceback.format_exception(thread.exc_type, thread.exc_value, thread.exc_traceback))
    )
    training: Any = None
    for order in orders:
        if training is None:
            training = Training(order["address"], order["other"], errors)
        answer({"errors": errors.found, "sessions": training.sessions, "rounds": training.rounds})


if __name__ == "__main__":
    main()

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.demo.outcome import Outcome, Training


def training(accuracy: float, digest: str = "d", rounds: int = 0) -> Training:
    curve = ((10, accuracy / 2), (25, accuracy))
    return Training(accuracy=accuracy, digest=digest, rounds=rounds, bytes_sent=100 * rounds, curve=curve)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return Outcome(
        task="heart",
        framework="torch",
        sync_interval=10,
        seed=5,
        sites=("Cleveland", "Hungary"),
        samples=(243, 235),
        alone=(training(0.7, "a"), training(0.6, "b")),
        swarm=(training(0.8, rounds=7), training(0.8, rounds=7)),
        pooled=training(0.82),
        seconds=12.5,
        picture=tmp_path / "accuracy.png",
        model=tmp_path / "model.safetensors",
    )

"""A whole demo, shortened: real processes, two peers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swarm.demo.experiment import Experiment
from swarm.demo.tasks import MNIST


@pytest.mark.timeout(180)
def test_a_demo_trains_alone_pooled_and_in_the_swarm(tmp_path: Path) -> None:
    lines: list[str] = []
    experiment = Experiment(
        task=replace(MNIST, epochs=1, steps=20),
        framework="torch",
        peers=2,
        sync_interval=8,
        seed=0,
        directory=tmp_path,
    )
    outcome = experiment.run(lines.append)
    assert outcome.weights_identical
    assert outcome.rounds >= 3
    assert outcome.swarm[0].accuracy == outcome.swarm[1].accuracy
    assert min(training.bytes_sent for training in outcome.swarm) > 0
    assert len({training.digest for training in outcome.alone}) == 2
    assert all(training.rounds == training.bytes_sent == 0 for training in outcome.alone)
    assert [step for step, _ in outcome.swarm[0].curve] == [8, 16]
    assert outcome.picture.stat().st_size > 0
    assert outcome.model.read_bytes() == (tmp_path / "swarm" / "peer-1" / "model.safetensors").read_bytes()
    assert "4000 images to train on, 1000 held out to test on" in lines

"""The processes of a demo, with a script that notes how it is called in place of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.demo.experiment import Experiment
from swarm.demo.outcome import Outcome
from swarm.demo.tasks import KERAS_BACKENDS, MNIST

SCRIPT = """
import json, os, sys, time
from pathlib import Path
began = time.monotonic()
directory = Path(os.environ["MODEL_DIR"])
directory.mkdir(parents=True, exist_ok=True)
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
time.sleep(0.2)
(directory / "model.bin").write_text(f"of peer {os.environ['SWARM_RANK']}")
(directory / "result.json").write_text(json.dumps({
    "accuracy": 1 / int(options["--batch-size"]),
    "digest": os.environ["SWARM_RANK"],
    "curve": [],
}))
seen = {"options": options, "environment": dict(os.environ), "time": [began, time.monotonic()]}
(directory / "seen.json").write_text(json.dumps(seen))
"""
SINGLES = ("alone-0", "alone-1", "pooled-16", "pooled-32")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(directory: Path, lines: list[str]) -> Outcome:
    """Of a whole demo, which runs once for all tests."""
    script = directory / "script.py"
    script.write_text(SCRIPT)
    task = replace(MNIST, scripts={"keras": str(script)}, epochs=3, steps=20, batch_size=16)
    experiment = Experiment(task=task, framework="keras", peers=2, sync_interval=5, seed=7, directory=directory)
    with pytest.MonkeyPatch.context() as user:
        user.setenv("SWARM_LOOPBACK", "false")
        user.setenv("SWARM_SYNC_INTERVAL", "77")
        user.setenv("MKL_NUM_THREADS", "3")
        user.delenv("OPENBLAS_NUM_THREADS", raising=False)
        user.delenv("KERAS_BACKEND", raising=False)
        return experiment.run(lines.append)


@pytest.fixture
def seen(outcome: Outcome, directory: Path) -> Mapping[str, Any]:
    """By training: what its script has noted."""
    names = (*SINGLES, "swarm/peer-0", "swarm/peer-1")
    return {name: json.loads((directory / name / "seen.json").read_text()) for name in names}


def test_every_training_has_the_same_options_but_one_on_pooled_data_larger_batches(seen: Mapping[str, Any]) -> None:
    common = {"--epochs": "3", "--steps": "20", "--sync-interval": "5", "--seed": "7"}
    for name, each in seen.items():
        assert each["options"] == {**common, "--batch-size": "32" if name == "pooled-32" else "16"}, name


def test_every_training_alone_has_the_data_and_the_rank_of_its_site(seen: Mapping[str, Any], directory: Path) -> None:
    for name in SINGLES:
        environment = seen[name]["environment"]
        rank = name.removeprefix("alone-")
        data = f"peer-{rank}" if name.startswith("alone") else "pooled"
        assert environment["SWARM_LOOPBACK"] == "true"
        assert environment["SWARM_RANK"] == (rank if name.startswith("alone") else "0")
        assert environment["DATA_DIR"] == str(directory / "data" / data)


def test_the_peers_train_in_a_swarm_on_this_machine(seen: Mapping[str, Any], directory: Path) -> None:
    for rank in range(2):
        environment = seen[f"swarm/peer-{rank}"]["environment"]
        assert (environment["SWARM_RANK"], environment["SWARM_WORLD_SIZE"]) == (str(rank), "2")
        assert environment["SWARM_LOOPBACK"] == "false"
        assert environment["DATA_DIR"] == str(directory / "data" / f"peer-{rank}")


def test_the_users_environment_counts_but_for_settings_of_swarm(seen: Mapping[str, Any]) -> None:
    for name, each in seen.items():
        environment = each["environment"]
        assert "SWARM_SYNC_INTERVAL" not in environment, name
        assert environment["KERAS_BACKEND"] in KERAS_BACKENDS, "Keras has one also where the user names none"
        assert environment["MKL_NUM_THREADS"] == "3"
        assert environment["OPENBLAS_NUM_THREADS"] == "1"


def test_trainings_outside_the_swarm_run_two_at_a_time_and_before_it(seen: Mapping[str, Any]) -> None:
    moments = [(moment, change) for name in SINGLES for moment, change in zip(seen[name]["time"], (1, -1), strict=True)]
    running = np.cumsum([change for _, change in sorted(moments)])
    assert running.max() == 2
    assert max(moments)[0] < min(seen[f"swarm/peer-{rank}"]["time"][0] for rank in range(2))


def test_the_outcome_has_the_best_training_on_pooled_data(outcome: Outcome) -> None:
    assert outcome.pooled.accuracy == 1 / 16
    assert [each.digest for each in outcome.alone] == [each.digest for each in outcome.swarm] == ["0", "1"]
    assert not outcome.weights_identical
    record = outcome.record()
    assert 0 < record.pop("seconds") < 600
    assert record == {
        "task": "mnist",
        "framework": "keras",
        "peers": 2,
        "sync_interval": 5,
        "seed": 7,
        "rounds": 0,  # no session has left a report
        "alone": [1 / 16] * 2,
        "swarm": [1 / 16] * 2,
        "pooled": 1 / 16,
        "weights_identical": False,
        "bytes_sent": [0, 0],
    }
    assert (outcome.sites, sum(outcome.samples)) == (("peer-0", "peer-1"), 4000)


def test_model_and_picture_are_in_the_directory(outcome: Outcome, directory: Path) -> None:
    assert outcome.model == directory / "model.bin"
    assert outcome.model.read_text() == "of peer 0"
    assert outcome.picture == directory / "accuracy.png"
    assert outcome.picture.read_bytes().startswith(b"\x89PNG")


def test_each_step_is_reported(outcome: Outcome, lines: list[str]) -> None:
    first, *trained, peers, closed = lines
    assert first == "4000 images to train on, 1000 held out to test on"
    assert sorted(trained) == [f"trained {name}" for name in SINGLES]
    assert (peers, closed) == ("2 peers train in the swarm", "the swarm has closed")

"""The examples, with real processes; torch_mnist.py runs in the test of the demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from benchmarks.gallery import data

Run = Callable[..., list[dict[str, Any]]]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("script", "model"), [("keras_mnist.py", "model.keras"), ("lightning_mnist.py", "model.safetensors")]
)
def test_two_peers_end_with_one_model(run: Run, images: Path, tmp_path: Path, script: str, model: str) -> None:
    first, second = run(script, images, peers=2)
    assert first["digest"] == second["digest"]
    assert first["accuracy"] == second["accuracy"]
    assert first["metrics"]["swarm_rounds"] >= 2
    assert [step for step, _ in first["curve"]] == [8, 16]
    assert (tmp_path / "peer-1" / model).is_file()


@pytest.mark.timeout(180)
def test_keras_measures_its_model_on_jax_too(run: Run, images: Path) -> None:
    """During fit() the weights are not in the model there."""
    pytest.importorskip("jax")
    (result,) = run("keras_mnist.py", images, variables={"KERAS_BACKEND": "jax"})
    (_, before), (_, after) = result["curve"]
    assert before != after == result["accuracy"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("script", ["heart.py", "before_training.py", "keras_mnist.py", "lightning_mnist.py"])
def test_it_trains_alone(run: Run, request: pytest.FixtureRequest, script: str) -> None:
    data = request.getfixturevalue("images" if "mnist" in script else "patients")
    (result,) = run(script, data)
    assert result["metrics"].get("swarm_bytes_sent", 0) == 0
    assert result["accuracy"] > 0.3


@pytest.mark.timeout(180)
def test_hospitals_pool_their_statistics_before_they_train(run: Run, patients: Path) -> None:
    first, second = run("before_training.py", patients, peers=2)
    assert first["digest"] == second["digest"]
    assert first["metrics"]["swarm_rounds"] >= 2


@pytest.mark.timeout(180)
def test_scanners_keep_their_statistics_and_share_all_weights(run: Run, tmp_path: Path) -> None:
    data.scanners(seed=0).write(tmp_path / "data")
    first, second = run("torch_cnn.py", tmp_path / "data", peers=2)
    assert first["digest"] == second["digest"]
    models = [load_file(tmp_path / f"peer-{rank}" / "model.safetensors") for rank in (0, 1)]
    differ = {name for name in models[0] if (models[0][name] != models[1][name]).any()}
    assert differ == {f"{layer}.running_{what}" for layer in (1, 5) for what in ("mean", "var")}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("script", "kind"), [("biased_sites.py", "tumours"), ("progression.py", "clinics")])
def test_sites_of_a_table_scale_it_alike(run: Run, tmp_path: Path, script: str, kind: str) -> None:
    getattr(data, kind)(seed=0).write(tmp_path / "data")
    first, second = run(script, tmp_path / "data", peers=2)
    assert first["digest"] == second["digest"]
    assert first["metrics"]["swarm_rounds"] >= 2


@pytest.mark.timeout(180)
def test_two_hospitals_count_each_patient_once(run: Run, patients: Path) -> None:
    pytest.importorskip("swarm_sklearn")
    first, second = run("sklearn_heart.py", patients, "--model", "bayes", peers=2)
    assert first["digest"] == second["digest"]
    assert first["metrics"]["swarm_rounds"] >= 1


@pytest.mark.timeout(300)
def test_two_hospitals_merge_adapters(run: Run, patients: Path, tmp_path: Path) -> None:
    pytest.importorskip("swarm_transformers")
    pytest.importorskip("peft")
    first, second = run("transformers_notes.py", patients, peers=2)
    assert first["digest"] == second["digest"]
    assert first["metrics"]["swarm_rounds"] >= 2
    assert (tmp_path / "peer-1" / "swarm-final" / "adapter_model.safetensors").is_file()


def test_a_site_keeps_its_data_without_a_rank_too(run: Run, patients: Path) -> None:
    """As at a real site: DATA_DIR itself holds train.npz and test.npz."""
    (result,) = run("heart.py", patients / "peer-1")
    assert len(result["curve"]) == 2


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_an_example_stays_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80

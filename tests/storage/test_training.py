"""The state of a site's training on disk: it comes back as it was, and nothing else is read from such a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from swarm.errors import ModelError, UnreadableFileError
from swarm.records import Resumed
from swarm.storage.files import write_tensors
from swarm.storage.training import Training, read_progress, read_training, write_training

DONE = Resumed(round=7, epochs=3, batches=40, epoch_batches=4)


def there_and_back(place: Path, state: Any) -> Any:
    write_training(place / "training.safetensors", Training(DONE, state))
    return read_training(place / "training.safetensors").state


def test_progress_and_state_come_back(tmp_path: Path) -> None:
    state = {"state": {0: {"step": 3.0, "on": True}}, "groups": [{"betas": (0.9, 0.99), "fused": None, "name": "w"}]}
    assert there_and_back(tmp_path, state) == state
    assert read_progress(tmp_path / "training.safetensors") == DONE
    assert DONE
    assert not Resumed()


def test_every_type_of_a_tree_comes_back_as_itself(tmp_path: Path) -> None:
    milestones = Counter({3: 1, 6: 2})
    found = there_and_back(tmp_path, [milestones, (1, [2]), float("inf"), -0.0, {"dict": []}, {"array": "0"}])
    assert found[:2] == [milestones, (1, [2])]
    assert type(found[0]) is Counter
    assert found[2:] == [float("inf"), -0.0, {"dict": []}, {"array": "0"}]
    assert np.isnan(there_and_back(tmp_path, float("nan")))


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int64", "bool", "uint8", "complex64", "complex128", "bfloat16"]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_arrays_come_back(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(6)[: int(np.prod(shape))].reshape(shape).astype(getattr(ml_dtypes, dtype, dtype))
    found = there_and_back(tmp_path, {"a": array, "turned": array.T})
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["turned"], array.T)


def test_what_no_file_can_hold_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\['groups'\]\[1\]\['scale'\] is a function, which cannot be written"):
        there_and_back(tmp_path, {"groups": [1, {"scale": there_and_back}]})
    with pytest.raises(ModelError, match="it is a type"):
        there_and_back(tmp_path, {int: 1} | {})
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"progress": "{}", "state": "null"},
        {"progress": '{"round": -1, "epochs": 0, "batches": 0, "epoch_batches": 0}', "state": "null"},
        {"progress": '{"round": true, "epochs": 0, "batches": 0, "epoch_batches": 0}', "state": "null"},
        {"progress": "[" * 10**5, "state": "[" * 10**5},
        {
            "progress": '{"round": 1, "epochs": 0, "batches": 0, "epoch_batches": 0}',
            "state": '{"array": "9", "complex": false}',
        },
        {"progress": '{"round": 1, "epochs": 0, "batches": 0, "epoch_batches": 0}', "state": '{"odd": 1}'},
        {"progress": '{"round": 1, "epochs": 0, "batches": 0, "epoch_batches": 0}', "state": '{"dict": [[1]]}'},
        {"progress": '{"round": 1, "epochs": 0, "batches": 0, "epoch_batches": 0}', "state": '{"dict": [[[], 1]]}'},
    ],
    ids=range(9),
)
def test_another_file_is_refused(tmp_path: Path, about: dict[str, str]) -> None:
    path = tmp_path / "training.safetensors"
    write_tensors(path, {}, about)
    with pytest.raises(UnreadableFileError):
        read_training(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    write_training(path, Training(DONE, {"a": np.ones(8)}))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UnreadableFileError):
        read_training(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(UnreadableFileError):
        read_progress(path)

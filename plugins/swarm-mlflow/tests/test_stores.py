from __future__ import annotations

import fcntl
import os

import mlflow.tracking
import pytest

from swarm_mlflow.stores import opened


def free(directory) -> bool:
    """Whether another process could open a store in this directory now."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite"])
def test_one_process_at_a_time_opens_a_database(monkeypatch, tmp_path, scheme):
    monkeypatch.setattr(mlflow.tracking, "MlflowClient", lambda store: (store, free(tmp_path)))
    store = f"{scheme}:///{tmp_path}/mlflow.db"
    assert opened(store) == (store, False)
    assert free(tmp_path)


def test_a_database_that_cannot_be_opened_is_left_to_others(monkeypatch, tmp_path):
    def fails(store):
        raise OSError("no space left")

    monkeypatch.setattr(mlflow.tracking, "MlflowClient", fails)
    with pytest.raises(OSError, match="no space"):
        opened(f"sqlite:///{tmp_path}/mlflow.db")
    assert free(tmp_path)


@pytest.mark.parametrize(
    "store", ["https://mlflow.example", "sqlite://", "sqlite:///none/mlflow.db", "file:///tmp", "databricks"]
)
def test_other_stores_need_no_lock(monkeypatch, tmp_path, store):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlflow.tracking, "MlflowClient", lambda given: (given, free(tmp_path)))
    assert opened(store) == (store, True)

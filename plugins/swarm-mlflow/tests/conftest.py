from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of MLflow in a directory: a database takes it many seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield tmp_path_factory.mktemp("store").as_uri()


@pytest.fixture(scope="session")
def client(store: str) -> MlflowClient:
    return MlflowClient(store)


@pytest.fixture
def experiment(client: MlflowClient, tmp_path: Path) -> str:
    """The name of an experiment of this test, with its files beside it."""
    name = tmp_path.name
    client.create_experiment(name, artifact_location=(tmp_path / "artifacts").as_uri())
    return name

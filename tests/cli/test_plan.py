from __future__ import annotations

import pytest

from swarm.cli.up import plan
from swarm.config import resolve
from swarm.errors import ConfigurationError


@pytest.fixture
def planned(tmp_path, user_environment, python):
    def run(peers=2, given=None, **variables):
        specs = plan([python, "-c", ""], peers, given or {}, user_environment | variables, tmp_path / "rendezvous")
        return [spec.environment for spec in specs]

    return run


def test_the_launcher_decides_on_the_place_of_its_peers(planned, tmp_path):
    environments = planned(
        3,
        SWARM_LISTEN="127.0.0.1:7000",
        SWARM_PEERS="a.example:1",
        SWARM_MEMBERSHIP="etcd",
        SWARM_LOOPBACK="true",
    )

    settings = [resolve(environment=environment, directory=tmp_path).settings for environment in environments]

    assert [(each.name, each.rank, each.world_size) for each in settings] == [
        ("peer-0", 0, 3),
        ("peer-1", 1, 3),
        ("peer-2", 2, 3),
    ]
    assert {(each.listen, each.peers, each.loopback) for each in settings} == {("127.0.0.1:0", (), False)}
    assert {(each.membership, each.rendezvous) for each in settings} == {("directory", tmp_path / "rendezvous")}


def test_peers_share_the_cores_unless_the_user_says_otherwise(planned, user_environment):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        user_environment.pop(name, None)

    (environment,) = planned(1, OPENBLAS_NUM_THREADS="7")

    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
    assert environment["OPENBLAS_NUM_THREADS"] == "7"


def test_data_are_shared_and_models_are_not(planned, tmp_path):
    first, second = planned(given={"data_dir": tmp_path, "model_dir": tmp_path / "models"})

    assert first["DATA_DIR"] == second["DATA_DIR"] == str(tmp_path)
    assert first["MODEL_DIR"] == first["SWARM_MODEL_DIR"] == str(tmp_path / "models" / "peer-0")
    assert second["MODEL_DIR"] == str(tmp_path / "models" / "peer-1")


def test_a_model_directory_from_the_environment_is_not_shared_either(planned, tmp_path):
    first, second = planned(MODEL_DIR=str(tmp_path))

    assert first["MODEL_DIR"] != second["MODEL_DIR"]


def test_a_data_directory_may_name_the_rank(planned, tmp_path):
    for rank in range(2):
        (tmp_path / f"site-{rank}").mkdir()

    first, second = planned(given={"data_dir": tmp_path / "site-{rank}"})

    assert (first["DATA_DIR"], second["DATA_DIR"]) == (str(tmp_path / "site-0"), str(tmp_path / "site-1"))


def test_a_rank_without_data_is_an_error(planned, tmp_path):
    (tmp_path / "site-0").mkdir()

    with pytest.raises(ConfigurationError, match="site-1' is not a directory"):
        planned(given={"data_dir": tmp_path / "site-{rank}"})


def test_the_training_has_the_name_that_was_given(planned):
    assert {each["SWARM_MODEL_NAME"] for each in planned(given={"model_name": "heart"})} == {"heart"}
    assert {each["SWARM_MODEL_NAME"] for each in planned(SWARM_MODEL_NAME="lung")} == {"lung"}

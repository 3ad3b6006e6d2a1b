from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swarm.cli.up import plan
from swarm.config import resolve
from swarm.errors import ConfigurationError
from swarm.identity.throwaway import make_identities


@pytest.fixture
def planned(tmp_path, user_environment, python):
    def run(peers=2, given=None, **variables):
        user = user_environment | {"XDG_DATA_HOME": str(tmp_path / "data")} | variables
        specs = plan([python, "-c", ""], peers, given or {}, user, tmp_path / "rendezvous", tmp_path / "scratch")
        return [spec.environment for spec in specs]

    return run


def test_the_launcher_decides_on_the_place_of_its_peers(planned, tmp_path):
    environments = planned(
        3,
        SWARM_LISTEN="127.0.0.1:7000",
        SWARM_PEERS="a.example:1",
        SWARM_DISCOVERY="etcd",
        SWARM_LOOPBACK="true",
    )

    settings = [resolve(environment=environment, directory=tmp_path).settings for environment in environments]

    assert [(each.name, each.rank, each.world_size) for each in settings] == [
        ("peer-0", 0, 3),
        ("peer-1", 1, 3),
        ("peer-2", 2, 3),
    ]
    assert {(each.listen, each.peers, each.loopback) for each in settings} == {("127.0.0.1:0", (), False)}
    assert {(each.discovery, each.rendezvous) for each in settings} == {("directory", tmp_path / "rendezvous")}


def test_the_identity_of_this_site_is_left_aside(planned, tmp_path, monkeypatch):
    make_identities({"paris": tmp_path / "swarm-identity"})
    monkeypatch.chdir(tmp_path)
    identities = [each["SWARM_IDENTITY"] for each in planned()]
    assert identities == [str(tmp_path / "rendezvous" / "identities" / f"peer-{rank}") for rank in (0, 1)]


def test_a_later_run_can_check_what_an_earlier_one_has_signed(planned, tmp_path):
    def authorities():
        return {(Path(each["SWARM_IDENTITY"]) / "authority.pem").read_bytes() for each in planned()}

    before = authorities()
    shutil.rmtree(tmp_path / "rendezvous")
    assert authorities() == before
    assert len(before) == 1


def test_where_the_home_of_the_user_cannot_be_written_identities_are_made_all_the_same(planned, tmp_path, capsys):
    (tmp_path / "home").touch()
    assert planned(XDG_DATA_HOME=str(tmp_path / "home"))[0]["SWARM_IDENTITY"]
    assert "a later `swarm up --resume` cannot check the records of this run" in capsys.readouterr().err


def test_the_launcher_decides_also_where_the_user_has_set_a_former_variable(planned, tmp_path):
    (environment,) = planned(1, SWARM_MEMBERSHIP="etcd", SWARM_LANE_PORT="7001", SWARM_GRACE="3")

    settings = resolve(environment=environment, directory=tmp_path).settings

    assert (settings.discovery, settings.data_port, settings.straggler_timeout) == ("directory", 0, 3.0)
    assert not {"SWARM_MEMBERSHIP", "SWARM_LANE_PORT", "SWARM_GRACE"} & environment.keys()


def test_peers_share_the_cores_unless_the_user_says_otherwise(planned, user_environment):
    one = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    for name in one:
        user_environment.pop(name, None)

    (environment,) = planned(1, OPENBLAS_NUM_THREADS="7")

    assert [environment[name] for name in one] == ["1", "1", "1"]
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


@pytest.mark.parametrize(
    ("directories", "expected"),
    [
        (["peer-0", "peer-1"], ["D/peer-0", "D/peer-1"]),
        (["peer-0", "peer-1", "peer-2"], ["D/peer-0", "D/peer-1"]),
        ([], ["D", "D"]),
        (["train"], ["D", "D"]),
    ],
)
def test_each_peer_reads_its_own_directory_where_all_have_one(planned, tmp_path, directories, expected):
    data = tmp_path / "D"
    data.mkdir()
    for name in directories:
        (data / name).mkdir()

    environments = planned(given={"data_dir": data})

    assert [each["DATA_DIR"] for each in environments] == [str(tmp_path / path) for path in expected]
    assert [each["SWARM_DATA_DIR"] for each in environments] == [each["DATA_DIR"] for each in environments]


def test_data_for_some_of_the_peers_are_an_error(planned, tmp_path):
    (tmp_path / "peer-0").mkdir()

    with pytest.raises(ConfigurationError, match="peer-1' is not there: give each of the 2 peers one, or none"):
        planned(given={"data_dir": tmp_path})


def test_model_and_scratch_directories_may_name_the_rank_too(planned, tmp_path):
    first, second = planned(given={"model_dir": tmp_path / "m{rank}"}, SCRATCH_DIR=str(tmp_path / "s{rank}"))

    assert (first["MODEL_DIR"], second["MODEL_DIR"]) == (str(tmp_path / "m0"), str(tmp_path / "m1"))
    assert (first["SCRATCH_DIR"], second["SCRATCH_DIR"]) == (str(tmp_path / "s0"), str(tmp_path / "s1"))
    assert all((tmp_path / name).is_dir() for name in ("m0", "m1", "s0", "s1"))


def test_a_directory_of_the_settings_file_may_name_the_rank(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swarm.toml").write_text('[swarm]\nmodel_dir = "m{rank}"\n')

    first, second = planned()

    assert (first["SWARM_MODEL_DIR"], second["SWARM_MODEL_DIR"]) == (str(tmp_path / "m0"), str(tmp_path / "m1"))


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ({}, {"SCRATCH_DIR": "own"}, ["own/peer-0", "own/peer-1"]),
        ({"model_dir": "models"}, {"SCRATCH_DIR": "own"}, ["own/peer-0", "own/peer-1"]),
        ({"model_dir": "models"}, {}, ["models/peer-0/scratch", "models/peer-1/scratch"]),
        ({}, {}, ["scratch/peer-0", "scratch/peer-1"]),
    ],
)
def test_each_peer_has_a_scratch_directory_of_its_own(planned, tmp_path, monkeypatch, given, variables, expected):
    monkeypatch.chdir(tmp_path)

    scratch = [each["SCRATCH_DIR"] for each in planned(given=given, **variables)]

    assert scratch == [str(tmp_path / path) for path in expected]
    assert all((tmp_path / path).is_dir() for path in expected)


def test_resume_is_for_every_peer(planned, tmp_path):
    environments = planned(given={"resume": True, "model_dir": tmp_path})

    assert [each["SWARM_RESUME"] for each in environments] == ["true", "true"]
    assert all("SWARM_RESUME" not in each for each in planned(given={"model_dir": tmp_path}))


@pytest.mark.parametrize("variable", ["MODEL_DIR", "SWARM_MODEL_DIR"])
def test_resume_takes_the_model_directory_of_the_environment(planned, tmp_path, variable):
    for given, variables in (({"resume": True}, {}), ({}, {"SWARM_RESUME": "true"})):
        environments = planned(given=given, **{variable: str(tmp_path)}, **variables)
        assert [each["SWARM_MODEL_DIR"] for each in environments] == [str(tmp_path / f"peer-{rank}") for rank in (0, 1)]


def test_a_script_may_listen_elsewhere_whatever_is_advertised(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("", '[swarm]\nadvertise = "north.example"\n'):
        (tmp_path / "swarm.toml").write_text(text)
        for environment in planned(SWARM_ADVERTISE="south.example"):
            script = {"listen": "10.0.0.5:0", "insecure": True}
            assert resolve(script, environment=environment).settings.advertise is None


def test_resume_needs_a_model_directory(planned):
    with pytest.raises(ConfigurationError, match="resume=True needs model_dir"):
        planned(given={"resume": True})


def test_the_training_has_the_name_that_was_given(planned):
    assert {each["SWARM_MODEL_NAME"] for each in planned(given={"model_name": "heart"})} == {"heart"}
    assert {each["SWARM_MODEL_NAME"] for each in planned(SWARM_MODEL_NAME="lung")} == {"lung"}

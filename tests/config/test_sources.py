from __future__ import annotations

import socket
from pathlib import Path

import pytest

from swarm.config import SETTINGS, resolve
from swarm.config.sources import Value
from swarm.errors import ConfigurationError, UnknownArgumentError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "swarm.toml").write_text(
        '[swarm]\nsync_interval = 1\nmin_peers = 3\nval_steps = 4\npeers = ["127.0.0.1:7000"]\ndata_dir = "data"\n'
    )
    return tmp_path


def test_arguments_beat_variables_which_beat_the_file_which_beats_defaults(site: Path) -> None:
    resolved = resolve(
        {"sync_interval": 3}, environment={"SWARM_SYNC_INTERVAL": "2", "SWARM_MIN_PEERS": "2"}, directory=site
    )
    found = resolved.values()
    assert found["sync_interval"] == (3, "argument")
    assert found["min_peers"] == (2, "SWARM_MIN_PEERS")
    assert found["val_steps"] == (4, "swarm.toml")
    assert found["merge_method"] == ("mean", "default")
    assert tuple(found) == tuple(SETTINGS)


def test_an_empty_variable_empties_a_list_of_the_file(site: Path) -> None:
    assert resolve(environment={"SWARM_PEERS": ""}, directory=site).settings.peers == ()


def test_an_empty_variable_takes_the_advertised_address_of_the_file_back(tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").write_text('[swarm]\nadvertise = "127.0.0.1:9"\n')
    assert resolve(environment={"SWARM_ADVERTISE": " "}, directory=tmp_path).settings.advertise is None


def test_what_counts_otherwise_counts_before_the_default_only(site: Path) -> None:
    otherwise = {"data_dir": Value(Path("x"), "DATA_DIR"), "model_dir": Value(Path("y"), "MODEL_DIR")}
    resolved = resolve({"resume": True}, environment={}, directory=site, otherwise=otherwise)
    assert (resolved.settings.data_dir, resolved.settings.model_dir) == (site / "data", Path("y"))
    assert resolved.origins["model_dir"] == "MODEL_DIR"


def test_directories_in_the_file_are_taken_from_where_it_is(site: Path) -> None:
    assert resolve(environment={}, directory=site).settings.data_dir == site / "data"


def test_swarm_config_names_another_file(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[swarm]\nsync_interval = 9\n")
    resolved = resolve(environment={"SWARM_CONFIG": str(other)}, directory=site)
    assert resolved.settings.sync_interval == 9
    assert resolved.origins["sync_interval"] == str(other)
    assert resolved.origins["min_peers"] == "default"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[swarm]\nsync_intervall = 1\n", "no setting 'sync_intervall': did you mean 'sync_interval'?"),
        ("[swarm]\nsync_interval = '1'\n", r"sync_interval='1' \(from swarm.toml\) is not allowed"),
        ("sync_interval = 1\n", r"belong in a table \[swarm\], not sync_interval"),
        ("[swarm\n", "is not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "swarm.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        resolve(environment={}, directory=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[swarm]\npeers = " + b"[" * 20_000, "is nested too deeply"),
        (b"[swarm]\npeers = " + b"{a=" * 20_000, "is nested too deeply"),
        (b'[swarm]\nname = "\xff\xfe"\n', "is not a TOML file"),
        (b"\xff\xfe[\x00s\x00", "is not a TOML file"),
        (b"\x00\x01", "is not a TOML file"),
        (b"[swarm]\nmin_peers = " + b"9" * 10_000 + b"\n", "is not a TOML file"),
        (b"[swarm]\nstraggler_timeout = " + b"9" * 1_000 + b"\n", "straggler_timeout=9+… .* is not allowed"),
        (b"[swarm]\npeers = " + b"[" * 50 + b"]" * 50 + b"\n", "peers=.* is not allowed"),
        (b'[swarm]\ndata_dir = "a\\u0000b"\n', "data_dir=.* is not allowed"),
        (b'[swarm]\ndata_dir = "~nobody-of-this-name/x"\n', "data_dir=.* is not allowed"),
        (b"[[swarm]]\nmin_peers = 2\n", "belong in a table"),
    ],
)
def test_a_file_that_cannot_be_understood_is_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "swarm.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as raised:
        resolve(environment={}, directory=tmp_path)
    assert len(str(raised.value)) < 500


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"swarm\.toml cannot be read .*: make it a file"):
        resolve(environment={}, directory=tmp_path)


def test_a_link_to_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").symlink_to(tmp_path / "moved.toml")
    with pytest.raises(ConfigurationError, match=r"swarm\.toml cannot be read"):
        resolve(environment={}, directory=tmp_path)


def test_a_number_beyond_every_limit_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="min_peers=<str>|min_peers='9+… is not allowed"):
        resolve({"min_peers": "9" * 10_000}, environment={}, directory=tmp_path)
    with pytest.raises(ConfigurationError, match="data_port=<int> is not allowed"):
        resolve({"data_port": 10**5000}, environment={}, directory=tmp_path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SWARM_CONFIG"):
        resolve(environment={"SWARM_CONFIG": "none.toml"}, directory=tmp_path)


def test_an_unknown_variable_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SWARM_SYNC_INTERVALL: did you mean 'SWARM_SYNC_INTERVAL'"):
        resolve(environment={"SWARM_SYNC_INTERVALL": "1"}, directory=tmp_path)


def test_variables_of_installed_plugins_and_of_the_launcher_are_theirs(tmp_path: Path) -> None:
    environment = {"SWARM_KERAS_ANYTHING": "1", "SWARM_LOG": "info", "PATH": "/bin"}
    assert set(resolve(environment=environment, directory=tmp_path).origins.values()) == {"default"}


def test_an_unknown_argument_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownArgumentError, match="did you mean 'min_peers'"):
        resolve({"min_peer": 1}, environment={}, directory=tmp_path)


def test_a_peer_is_named_after_its_rank_else_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ward 7.example")
    assert resolve(environment={"SWARM_RANK": "3"}, directory=tmp_path).settings.name == "peer-3"
    assert resolve(environment={}, directory=tmp_path).settings.name == "ward_7.example"


@pytest.mark.parametrize(
    ("arguments", "named"), [({}, False), ({"world_size": 2}, False), ({"rank": 0}, True), ({"name": "a"}, True)]
)
def test_a_name_or_a_rank_names_a_peer(tmp_path: Path, arguments: dict[str, object], named: bool) -> None:
    assert resolve(arguments, environment={}, directory=tmp_path).settings.named is named

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.config import SETTINGS, Settings, resolve
from swarm.errors import ConfigurationError
from swarm.identity.throwaway import make_identities
from swarm.proxy import Proxy
from swarm.records import MAX_SETTING

AGREED = ("sync_interval", "min_peers", "merge_method", "codec")
LATER = {
    "train_until": "all",
    "node_weightage": "samples",
    "largest_share": 0.5,
    "sync_seconds": 60.0,
    "optimizer_state": "merge",
    "screen": "distances",
    "normalize_steps": True,
    "proximal": 0.1,
    "scaffold": True,
    "outer": "fedadam",
    "outer_learning_rate": 0.5,
    "outer_momentum": 0.5,
    "outer_beta2": 0.5,
    "outer_epsilon": 0.5,
    "tolerated_liars": 1,
    "keep_best": True,
    "patience": 5,
    "exchange_shards": True,
    "monitor": "max:accuracy",
}
"""Settings that must agree and that earlier releases do not know, each with another value than that of before."""


def needed(name: str) -> dict[str, object]:
    """Settings without which a value of another one is refused."""
    if name == "sync_seconds":
        return {"sync_policy": "seconds"}
    if name == "require_members":
        return {"world_size": 2}
    if name == "monitor":
        return {"share_metrics": True}
    return {"outer": "fedadam"} if name.startswith("outer_") else {}


def settings_of(arguments=None, environment=None, directory=Path("/nonexistent")) -> Settings:
    return resolve(arguments, environment=environment or {}, directory=directory).settings


def test_defaults_are_the_documented_ones() -> None:
    settings = settings_of({"name": "a"})
    assert settings == Settings(name="a", placed=False)
    assert (settings.sync_interval, settings.min_peers, settings.merge_method) == (128, 2, "mean")
    assert (settings.checkin_model_on_train_end, settings.node_weightage) == ("snapshot", 1)
    assert (settings.transport, settings.discovery) == ("grpc", None)
    assert settings.codec == "exact"
    assert settings.overlap is False
    assert (settings.data_channel, settings.data_port) == (True, 0)
    assert (settings.val_batch_size, settings.val_steps, settings.start_timeout) == (32, 100, 600.0)


OWN = Path("own")


@pytest.fixture(autouse=True)
def own_identity(tmp_path_factory, monkeypatch):
    """One that the settings can name."""
    place = tmp_path_factory.getbasetemp() / "identities"
    if not (place / OWN).is_dir():
        make_identities({"north": place / OWN})
    monkeypatch.chdir(place)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sync_interval", 0),
        ("sync_interval", True),
        ("sync_interval", 1.0),
        ("sync_interval", "128"),
        ("min_peers", 0),
        ("use_adaptive_sync", 1),
        ("use_adaptive_sync", "true"),
        ("sync_policy", ""),
        ("sync_seconds", 0),
        ("val_batch_size", 0),
        ("val_steps", -1),
        ("checkin_model_on_train_end", "late"),
        ("node_weightage", -1),
        ("node_weightage", 101),
        ("node_weightage", "sample"),
        ("samples", -1),
        ("largest_share", 0),
        ("tolerated_liars", -1),
        ("agree", ["x"]),
        ("share_statistics", 1),
        ("ml_platform", 3),
        ("model_name", ""),
        ("model_name", "../other"),
        ("model_name", "line\nbreak"),
        ("merge_method", ""),
        ("screen", "none"),
        ("normalize_steps", "yes"),
        ("scaffold", "yes"),
        ("proximal", -0.1),
        ("proximal", float("nan")),
        ("outer", "adam"),
        ("outer_learning_rate", 0),
        ("outer_learning_rate", float("inf")),
        ("outer_momentum", 1),
        ("outer_momentum", -0.1),
        ("outer_beta2", 1.0),
        ("outer_beta2", True),
        ("outer_epsilon", 0.0),
        ("codec", ""),
        ("share", ["head.*", "head.*"]),
        ("local", [""]),
        ("trainable_only", "adapters"),
        ("exchange_shards", "some"),
        ("exchange_shards", 1),
        ("exchange_shards", 514),
        ("exchange_shards", 2.0),
        ("normalization", "local"),
        ("below_quorum", "stop"),
        ("train_until", "each"),
        ("optimizer_state", "sum"),
        ("overlap", "yes"),
        ("start_timeout", 0),
        ("start_timeout", float("nan")),
        ("start_timeout", True),
        ("total_epochs", 0),
        ("name", " "),
        ("listen", "7000"),
        ("listen", "127.0.0.1:65536"),
        ("listen", "[::1:7000"),
        ("advertise", "[::]:7000"),
        ("peers", ["127.0.0.1:0"]),
        ("peers", ["127.0.0.1:7000", "127.0.0.1:7000"]),
        ("peers", 7000),
        ("rendezvous", ""),
        ("discovery", ""),
        ("transport", 7),
        ("data_channel", 1),
        ("data_port", 65536),
        ("proxy", "proxy.example"),
        ("max_mbit", ["1"]),
        ("max_mbit", True),
        ("max_mbit", ["20@7-19"]),
        ("world_size", 0),
        ("rank", -1),
        ("members", ["a", "a"]),
        ("require_members", 1),
        ("validate_own", 0),
        ("keep_best", 1),
        ("patience", 0),
        ("patience", True),
        ("monitor", "accuracy"),
        ("monitor", "best:accuracy"),
        ("monitor", "max:"),
        ("monitor", "max:a\nb"),
        ("monitor", 1),
        ("share_metrics", 1),
        ("failure_timeout", -1.0),
        ("straggler_timeout", float("inf")),
        ("framework_result", "keras"),
        ("checkpoint_seconds", -1.0),
        ("resume", "maybe"),
        ("loopback", "yes"),
        ("identity", 7),
        ("insecure", None.__class__),
        ("data_dir", 3),
        ("model_dir", b""),
        ("disabled_plugins", {"a": 1}),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_value_and_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of({name: value})
    shown = "***" if SETTINGS[name].check.is_secret else repr(value)
    assert str(caught.value).startswith(f"{name}={shown} is not allowed: allowed is ")


def test_the_refusals_above_cover_every_setting() -> None:
    (mark,) = test_a_value_out_of_range_is_refused_by_name_value_and_what_is_allowed.pytestmark
    assert {name for name, _ in mark.args[1]} == set(SETTINGS)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("sync_interval", 0, "an integer from 1 to 2147483647"),
        ("min_peers", 0, "an integer of at least 1"),
        ("node_weightage", 101, "an integer from 0 to 100"),
        ("start_timeout", 0, "a finite number of seconds, above 0"),
        ("straggler_timeout", -1, "a finite number of seconds, 0 or more"),
        ("overlap", 1, "true or false"),
        ("exchange_shards", 1, "true or false, or an integer from 2 to 513"),
        ("below_quorum", "stop", "'train' or 'wait'"),
        ("train_until", "each", "'own' or 'all'"),
        ("optimizer_state", "sum", "'keep' or 'reset' or 'merge'"),
        ("listen", "x", "host:port with a port from 0 to 65535 (an IPv6 host in brackets)"),
        ("share", [""], "a list without duplicates (as text: separated by commas), each a pattern of tensor names "),
    ],
)
def test_a_refusal_says_what_is_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of({name: value})
    assert f" is not allowed: allowed is {allowed}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("peers", ["Paris@a:1"], "'Paris@a:1' is no address: a peer's name before @ has 1 to 63 lower-case letters"),
        ("listen", "[fe80::1%eth0]:7000", "'[fe80::1%eth0]:7000' is no address: an IPv6 address with a scope"),
        ("listen", "127.1:7000", "'127.1:7000' is no address: Expected 4 octets"),
    ],
)
def test_a_refused_address_says_why(name: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of({name: value})
    assert f"; {reason}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sync_interval", 1, 1),
        ("sync_interval", 10**9, 10**9),
        ("min_peers", 1, 1),
        ("use_adaptive_sync", True, True),
        ("sync_policy", "Mine", "mine"),
        ("sync_seconds", 60, 60.0),
        ("val_batch_size", 1, 1),
        ("val_steps", 1, 1),
        ("checkin_model_on_train_end", "INACTIVE", "inactive"),
        ("checkin_model_on_train_end", "active", "active"),
        ("node_weightage", 0, 0),
        ("node_weightage", 100, 100),
        ("node_weightage", "Samples", "samples"),
        ("samples", 450, 450),
        ("largest_share", 1, 1.0),
        ("tolerated_liars", 0, 0),
        ("share_statistics", True, True),
        ("agree", {"b": ["x"], "a": 1}, (("a", "1"), ("b", '["x"]'))),
        ("ml_platform", " tf ", "TF"),
        ("model_name", "heart study 2.a_b-c", "heart study 2.a_b-c"),
        ("model_name", "x" * 128, "x" * 128),
        ("merge_method", "CoordMedian", "coordmedian"),
        ("screen", "Distances", "distances"),
        ("normalize_steps", True, True),
        ("proximal", 0.1, 0.1),
        ("scaffold", True, True),
        ("outer", "FedAdam", "fedadam"),
        ("outer_learning_rate", 2, 2.0),
        ("outer_momentum", 0, 0.0),
        ("outer_beta2", 0.5, 0.5),
        ("outer_epsilon", 1e-9, 1e-9),
        ("codec", "INT8", "int8"),
        ("share", ["head.*", "Tail[ab]"], ("head.*", "Tail[ab]")),
        ("share", [], ()),
        ("local", "a, b", ("a", "b")),
        ("trainable_only", True, True),
        ("exchange_shards", True, True),
        ("exchange_shards", 2, 2),
        ("exchange_shards", 513, 513),
        ("normalization", "SiloBN", "silobn"),
        ("below_quorum", "Wait", "wait"),
        ("train_until", "All", "all"),
        ("optimizer_state", "MERGE", "merge"),
        ("overlap", True, True),
        ("start_timeout", 1, 1.0),
        ("start_timeout", np.float32(0.5), 0.5),
        ("total_epochs", 1, 1),
        ("name", "Köln", "Köln"),
        ("listen", "127.0.0.1:65535", "127.0.0.1:65535"),
        ("listen", " [::1]:0 ", "[::1]:0"),
        ("advertise", "localhost:65535", "localhost:65535"),
        ("advertise", "::1", "[::1]"),
        ("advertise", "[::1]", "[::1]"),
        ("advertise", "[::1]:7000", "[::1]:7000"),
        ("peers", ("127.0.0.1:1", "[::1]:65535"), ("127.0.0.1:1", "[::1]:65535")),
        ("rendezvous", "~/meet", Path.home() / "meet"),
        ("discovery", "Seeds", "seeds"),
        ("transport", "Mine", "mine"),
        ("data_channel", False, False),
        ("data_port", 65535, 65535),
        ("proxy", "http://ada:p%40ss@proxy.example:3128", Proxy("proxy.example", 3128, "ada", "p@ss")),
        ("proxy", "none", Proxy("")),
        ("max_mbit", 20, ("20",)),
        ("max_mbit", "20@07:00-19:00, 100", ("20@07:00-19:00", "100")),
        ("world_size", 1, 1),
        ("rank", 0, 0),
        ("members", ["a"], ("a",)),
        ("require_members", True, True),
        ("validate_own", False, False),
        ("keep_best", True, True),
        ("patience", 5, 5),
        ("monitor", "loss", "loss"),
        ("monitor", " max:accuracy ", "max:accuracy"),
        ("monitor", "min:mean absolute error", "min:mean absolute error"),
        ("share_metrics", True, True),
        ("failure_timeout", 0.1, 0.1),
        ("straggler_timeout", 0, 0.0),
        ("framework_result", False, False),
        ("checkpoint_seconds", 0, 0.0),
        ("resume", False, False),
        ("loopback", True, True),
        ("identity", str(OWN), OWN),
        ("insecure", True, True),
        ("data_dir", Path("data"), Path("data")),
        ("model_dir", b"models", Path("models")),
        ("disabled_plugins", ["keras"], ("keras",)),
    ],
)
def test_a_value_in_range_is_taken_in_its_normal_form(name: str, value: object, expected: object) -> None:
    found = getattr(settings_of({**needed(name), name: value}), name)
    assert found == expected
    assert type(found) is type(expected)


def test_the_values_above_cover_every_setting() -> None:
    (mark,) = test_a_value_in_range_is_taken_in_its_normal_form.pytestmark
    assert {name for name, _, _ in mark.args[1]} == set(SETTINGS)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("SWARM_SYNC_INTERVAL", " 16 ", 16),
        ("SWARM_USE_ADAPTIVE_SYNC", "On", True),
        ("SWARM_LOOPBACK", "True", True),
        ("SWARM_LOOPBACK", "0", False),
        *(("SWARM_OVERLAP", word, True) for word in ("true", "yes", "on", "1")),
        *(("SWARM_DATA_CHANNEL", word, False) for word in ("false", "no", "off", "0")),
        ("SWARM_EXCHANGE_SHARDS", "1", True),
        ("SWARM_EXCHANGE_SHARDS", " Off", False),
        ("SWARM_EXCHANGE_SHARDS", " 16 ", 16),
        ("SWARM_START_TIMEOUT", "1.5", 1.5),
        ("SWARM_STRAGGLER_TIMEOUT", "0", 0.0),
        ("SWARM_ML_PLATFORM", "pytorch", "PYTORCH"),
        ("SWARM_MERGE_METHOD", "GeoMedian", "geomedian"),
        ("SWARM_TRANSPORT", "gRPC", "grpc"),
        ("SWARM_DISCOVERY", "Directory", "directory"),
        ("SWARM_DISCOVERY", "", None),
        ("SWARM_CHECKIN_MODEL_ON_TRAIN_END", "ACTIVE", "active"),
        ("SWARM_PEERS", "127.0.0.1:1, [::1]:2,", ("127.0.0.1:1", "[::1]:2")),
        ("SWARM_MEMBERS", "berlin,paris", ("berlin", "paris")),
        ("SWARM_LOCAL", "Head.*, */norm/[ab]?", ("Head.*", "*/norm/[ab]?")),
        ("SWARM_DATA_DIR", "/data", Path("/data")),
        ("SWARM_MODEL_NAME", "", "swarm_model"),
    ],
)
def test_variables_are_read_as_what_they_mean(variable: str, text: str, expected: object) -> None:
    assert getattr(settings_of({}, {variable: text}), variable.removeprefix("SWARM_").lower()) == expected


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SWARM_SYNC_INTERVAL", "16.0"),
        ("SWARM_SYNC_INTERVAL", "1_000"),
        ("SWARM_SYNC_INTERVAL", "٣"),
        ("SWARM_LOOPBACK", "maybe"),
        ("SWARM_EXCHANGE_SHARDS", "2.0"),
        ("SWARM_START_TIMEOUT", "soon"),
        ("SWARM_PEERS", "127.0.0.1"),
    ],
)
def test_variables_are_read_strictly(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"from {variable}"):
        settings_of({}, {variable: text})


def test_numpy_integers_count_as_integers() -> None:
    settings = settings_of({"sync_interval": np.int64(8)})
    assert settings.sync_interval == 8
    assert type(settings.sync_interval) is int


def test_none_means_not_given() -> None:
    assert settings_of({"sync_interval": None}, {"SWARM_SYNC_INTERVAL": "7"}).sync_interval == 7


@pytest.mark.parametrize("name", AGREED)
def test_what_must_agree_between_peers_is_named(name: str) -> None:
    settings = settings_of({"name": "a"})
    assert (name, str(SETTINGS[name].default)) in settings.agreed()
    assert {given for given, _ in settings.agreed()} == {*AGREED, "share", "local", "sync_policy"}


@pytest.mark.parametrize(("name", "other"), LATER.items())
def test_what_must_agree_and_is_new_is_not_named_while_it_is_as_before(name: str, other: object) -> None:
    """Releases that do not know the setting refuse every peer that names it."""
    assert name not in dict(settings_of({name: SETTINGS[name].default}).agreed())
    assert dict(settings_of({name: other, "world_size": 4, **needed(name)}).agreed())[name] == str(other)


def test_parameters_of_the_outer_optimizer_agree_whether_they_are_given_or_are_its_defaults() -> None:
    given = settings_of({"outer": "nesterov", "outer_learning_rate": 0.7, "outer_momentum": 0.9})
    assert given.agreed() == settings_of({"outer": "nesterov"}).agreed()
    assert settings_of({"outer": "fedavgm", "outer_momentum": 0.5}).outer_parameters == {
        "learning_rate": 1.0,
        "momentum": 0.5,
    }
    assert settings_of({}).outer_parameters == {}


def test_all_settings_that_are_not_named_while_they_are_as_before_are_tested() -> None:
    assert {name for name, row in SETTINGS.items() if row.before} == set(LATER)


def test_peers_agree_on_patterns_in_any_order() -> None:
    either = settings_of({"name": "a", "share": ["b", "a"], "local": "head.*"})
    assert dict(either.agreed())["share"] == dict(settings_of({"share": "a,b"}).agreed())["share"] == "['a', 'b']"
    assert either.local == ("head.*",)
    assert dict(either.agreed())["local"] == "['head.*']"


def test_a_value_that_is_too_long_to_be_sent_is_compared_by_its_hash() -> None:
    one, other = ([f"block.{number}.*" for number in numbers] for numbers in (range(1000), range(1, 1001)))
    told = [dict(settings_of({"share": share}).agreed())["share"] for share in (one, one[::-1], other)]
    assert told[0] == told[1] != told[2]
    assert all(len(value) <= MAX_SETTING and value.startswith("['block.") for value in told)


@pytest.mark.parametrize(
    ("arguments", "policy", "chosen_by"),
    [
        ({}, "fixed", "sync_policy='fixed'"),
        ({"use_adaptive_sync": True}, "validation", "use_adaptive_sync=True"),
        ({"sync_policy": "Validation"}, "validation", "sync_policy='validation'"),
        ({"use_adaptive_sync": False, "sync_policy": "validation"}, "validation", "sync_policy='validation'"),
        ({"use_adaptive_sync": True, "sync_policy": "mine"}, "mine", "sync_policy='mine'"),
    ],
)
def test_peers_agree_on_the_policy_whichever_setting_chose_it(arguments, policy: str, chosen_by: str) -> None:
    settings = settings_of(arguments)
    assert dict(settings.agreed())["sync_policy"] == policy
    assert settings.policy_setting == chosen_by


@pytest.mark.parametrize("source", ["argument", "variable"])
def test_the_password_of_a_proxy_is_in_no_message(source: str) -> None:
    wrong = "https://ada:secret@proxy.example:1"
    given = ({"proxy": wrong}, {}) if source == "argument" else ({}, {"SWARM_PROXY": wrong})
    with pytest.raises(ConfigurationError, match=r"proxy=\*\*\*") as caught:
        resolve(given[0], environment=given[1])
    assert "secret" not in str(caught.value)
    found = resolve({"proxy": "http://ada:secret@proxy.example:3128"}, environment={}).values()["proxy"].value
    assert str(found) == "http://ada:***@proxy.example:3128"
    assert "secret" not in repr(found)

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from swarm.config import former, resolve
from swarm.config.arguments import parse_arguments
from swarm.errors import ConfigurationError, UnknownArgumentError

HPE_SCRIPT = {
    "syncFrequency": 64,
    "minPeers": 3,
    "trainingContract": "defaultbb.cqdb.sml.hpe",
    "useAdaptiveSync": True,
    "adsValData": ("x", "y"),
    "adsValBatchSize": 8,
    "checkinModelOnTrainEnd": "active",
    "nodeWeightage": 5,
    "mlPlatform": "pytorch",
    "mergeMethod": "COORDMEDIAN",
    "totalEpochs": 2,
    "lossFunction": "NLLLoss",
    "lossFunctionArgs": {"reduction": "sum"},
    "metricFunction": "Accuracy",
    "metricFunctionArgs": {"task": "multiclass"},
}


def test_an_hpe_script_keeps_its_meaning() -> None:
    with pytest.warns(DeprecationWarning, match="HPE's spelling"):
        arguments = parse_arguments(HPE_SCRIPT)
    settings = arguments.settings
    assert (settings.sync_interval, settings.min_peers, settings.model_name) == (64, 3, "defaultbb.cqdb.sml.hpe")
    assert settings.use_adaptive_sync
    assert (settings.val_batch_size, settings.checkin_model_on_train_end, settings.node_weightage) == (8, "active", 5)
    assert (settings.ml_platform, settings.merge_method, settings.total_epochs) == ("PYTORCH", "coordmedian", 2)
    assert arguments.val_data == ("x", "y")
    assert (arguments.loss_function, arguments.loss_function_args) == ("NLLLoss", {"reduction": "sum"})
    assert (arguments.metric_function, arguments.metric_function_args) == ("Accuracy", {"task": "multiclass"})


@pytest.mark.parametrize(("theirs", "ours"), sorted(former.ARGUMENTS.items()))
def test_each_spelling_is_warned_of_at_the_users_line(theirs: str, ours: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"'{theirs}' .* write '{ours}'") as caught:
        parse_arguments({theirs: None})
    assert caught[0].filename == __file__


def test_our_spellings_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_arguments({"sync_interval": 3}).settings.sync_interval == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"syncFrequency": 1, "sync_interval": 1},
        {"valData": 1, "adsValData": 1},
        {"modelName": 1, "trainingContract": 1},
        {"membership": "seeds", "discovery": "seeds"},
        {"data_port": 7000, "lane_port": 7000},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_argument_under_two_names_is_refused(arguments: dict[str, object]) -> None:
    first, second = arguments
    with pytest.raises(UnknownArgumentError, match=f"'{first}' and '{second}' are the same setting"):
        parse_arguments(arguments)


RENAMED = [
    ("bulk_lane", False, "data_channel", False),
    ("lane_port", 7001, "data_port", 7001),
    ("membership", "Etcd", "discovery", "etcd"),
    ("grace", 1.5, "straggler_timeout", 1.5),
]


def test_these_are_the_settings_that_were_renamed() -> None:
    assert {old: new for old, _, new, _ in RENAMED} == former.SETTINGS


@pytest.mark.parametrize(("old", "value", "new", "expected"), RENAMED)
def test_a_former_argument_still_counts(old: str, value: object, new: str, expected: object) -> None:
    with pytest.warns(DeprecationWarning, match=f"the argument '{old}' was renamed .*: write '{new}'"):
        assert getattr(parse_arguments({old: value}).settings, new) == expected
    with pytest.warns(DeprecationWarning, match=f"the argument '{old}' was renamed .*: write '{new}'"):
        assert getattr(resolve({old: value}).settings, new) == expected


@pytest.mark.parametrize(("old", "value", "new", "expected"), RENAMED)
def test_a_former_variable_still_counts(tmp_path, old: str, value: object, new: str, expected: object) -> None:
    found = resolve(environment={f"SWARM_{old.upper()}": str(value)}, directory=tmp_path)
    assert found.values()[new] == (expected, f"SWARM_{new.upper()}")


@pytest.mark.parametrize(("old", "value", "new", "expected"), RENAMED)
def test_a_former_key_still_counts(tmp_path, old: str, value: object, new: str, expected: object) -> None:
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
    (tmp_path / "swarm.toml").write_text(f"[swarm]\n{old} = {text}\n")
    assert resolve(environment={}, directory=tmp_path).values()[new] == (expected, "swarm.toml")


@pytest.mark.parametrize(("old", "value", "new"), [row[:3] for row in RENAMED])
def test_both_names_in_one_place_are_refused(tmp_path, old: str, value: object, new: str) -> None:
    before, now = f"SWARM_{old.upper()}", f"SWARM_{new.upper()}"
    with pytest.raises(ConfigurationError, match=f"{before} and {now} are the same setting: give {now} alone"):
        resolve(environment={before: str(value), now: str(value)}, directory=tmp_path)
    (tmp_path / "swarm.toml").write_text(f"[swarm]\n{new} = 1\n{old} = 1\n")
    with pytest.raises(ConfigurationError, match=f"swarm.toml: '{new}' and '{old}' are the same setting"):
        resolve(environment={}, directory=tmp_path)


def test_a_former_name_beats_what_it_would_beat_under_its_present_one(tmp_path) -> None:
    (tmp_path / "swarm.toml").write_text("[swarm]\ndata_port = 1\ngrace = 1\n")
    environment = {"SWARM_LANE_PORT": "2", "SWARM_STRAGGLER_TIMEOUT": "2"}
    settings = resolve(environment=environment, directory=tmp_path).settings
    assert (settings.data_port, settings.straggler_timeout) == (2, 2.0)
    with pytest.warns(DeprecationWarning, match="'lane_port'"):
        assert resolve({"lane_port": 3}, environment=environment, directory=tmp_path).settings.data_port == 3


def test_an_empty_former_variable_and_one_of_a_service_link_are_none(tmp_path) -> None:
    environment = {"SWARM_LANE_PORT": "tcp://10.0.0.1:80", "SWARM_DATA_PORT": "1", "SWARM_MEMBERSHIP": " "}
    found = resolve(environment=environment, directory=tmp_path)
    assert (found.settings.data_port, found.settings.discovery) == (1, None)


def test_a_former_variable_counts_where_the_present_one_is_empty_or_of_a_service_link(tmp_path) -> None:
    environment = {"SWARM_LANE_PORT": "1", "SWARM_DATA_PORT": "tcp://10.0.0.1:80", "SWARM_GRACE": "2"}
    settings = resolve(environment={**environment, "SWARM_STRAGGLER_TIMEOUT": ""}, directory=tmp_path).settings
    assert (settings.data_port, settings.straggler_timeout) == (1, 2.0)


def test_each_former_name_is_warned_of_once_with_the_present_one_and_where_it_was_given(tmp_path) -> None:
    (tmp_path / "swarm.toml").write_text("[swarm]\ngrace = 1\n")
    found = subprocess.run(
        [sys.executable, "-c", "from swarm.config import resolve; resolve(); resolve()"],
        cwd=tmp_path,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "SWARM_LANE_PORT": "7001", "SWARM_BULK_LANE": "on"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(found.stderr.splitlines()) == [
        "swarm.toml: the setting grace was renamed and is deprecated: write straggler_timeout",
        "the variable SWARM_BULK_LANE was renamed and is deprecated: write SWARM_DATA_CHANNEL",
        "the variable SWARM_LANE_PORT was renamed and is deprecated: write SWARM_DATA_PORT",
    ]

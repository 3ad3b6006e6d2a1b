from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarm.cli.run import plan
from swarm.errors import CommandNotFoundError, ConfigurationError, NameInUseError
from swarm.identity import Identity
from swarm.identity.throwaway import own_identity

LISTEN = {"listen": "127.0.0.1:7000"}


def test_the_command_takes_over_with_its_settings_and_its_exit_code(swarm, python):
    script = (
        "import json, os, sys; "
        "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('SWARM_')})); sys.exit(9)"
    )

    ended = swarm(
        "run", "--listen", "127.0.0.1:7000", "--advertise", "localhost:7009", "--peer", "127.0.0.1:7001",
        "--peer", "127.0.0.1:7002", "--name", "here", "--min-peers", "3", "--model-name", "heart",
        "--", python, "-c", script,
    )  # fmt: skip

    assert ended.returncode == 9
    variables = json.loads(ended.stdout)
    assert variables.pop("SWARM_IDENTITY").endswith("swarm-learning/this-machine/here")
    assert variables == {
        "SWARM_LISTEN": "127.0.0.1:7000",
        "SWARM_ADVERTISE": "localhost:7009",
        "SWARM_PEERS": "127.0.0.1:7001,127.0.0.1:7002",
        "SWARM_NAME": "here",
        "SWARM_MIN_PEERS": "3",
        "SWARM_MODEL_NAME": "heart",
        "SWARM_LOG": "info",
        "SWARM_TRACEBACK": "short",
    }


def test_a_peer_without_a_swarm_is_told_what_to_do(swarm, python):
    ended = swarm("run", "--", python, "-c", "print('started')")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("swarm: no swarm is configured")


def test_an_open_listener_needs_consent(swarm, python):
    refused = swarm("run", "--listen", "0.0.0.0:7000", "--", python, "-c", "")
    granted = swarm("run", "--listen", "0.0.0.0:7000", "--insecure", "--", python, "-c", "")

    assert refused.returncode == 2
    assert "listen='0.0.0.0:7000'" in refused.stderr
    assert granted.returncode == 0


def test_a_former_variable_reaches_the_script_under_its_present_name_so_that_one_process_warns(swarm, python):
    script = "import os; from swarm.config import resolve; print(resolve().settings.data_port, *os.environ)"

    ended = swarm("run", "--listen", "127.0.0.1:7000", "--", python, "-c", script, SWARM_LANE_PORT="7001")

    port, *variables = ended.stdout.split()
    assert port == "7001"
    assert "SWARM_LANE_PORT" not in variables
    assert ended.stderr.count("SWARM_LANE_PORT was renamed and is deprecated: write SWARM_DATA_PORT") == 1


def test_help_says_of_an_option_what_the_table_says_of_its_setting(swarm):
    shown = " ".join(swarm("run", "--help", COLUMNS="400", NO_COLOR="1").stdout.split())

    assert "Least number of peers, this one included, that a round needs." in shown
    assert "Let messages and weights travel unencrypted between machines" in shown


def test_resume_takes_the_model_directory_of_the_environment(tmp_path, python, user_environment):
    _, environment = plan([python], LISTEN | {"resume": True}, user_environment | {"MODEL_DIR": str(tmp_path)})

    assert (environment["SWARM_RESUME"], environment["SWARM_MODEL_DIR"]) == ("true", str(tmp_path))


def test_directories_are_exported_under_both_names(tmp_path, python, user_environment):
    given = LISTEN | {"data_dir": tmp_path, "model_dir": tmp_path / "new" / "model"}

    _, environment = plan([python], given, user_environment)

    assert environment["DATA_DIR"] == environment["SWARM_DATA_DIR"] == str(tmp_path)
    assert environment["MODEL_DIR"] == environment["SWARM_MODEL_DIR"] == str(tmp_path / "new" / "model")
    assert (tmp_path / "new" / "model").is_dir()
    assert environment["SCRATCH_DIR"] == str(tmp_path / "new" / "model" / "scratch")
    assert (tmp_path / "new" / "model" / "scratch").is_dir()


def test_a_scratch_directory_that_is_set_stays(tmp_path, python, user_environment):
    scratch = tmp_path / "scratch"

    _, environment = plan([python], LISTEN | {"model_dir": tmp_path}, user_environment | {"SCRATCH_DIR": str(scratch)})

    assert environment["SCRATCH_DIR"] == str(scratch)
    assert scratch.is_dir()


def test_without_a_model_directory_the_script_keeps_its_own_scratch_directory(python, user_environment):
    _, environment = plan([python], LISTEN, user_environment)

    assert "SCRATCH_DIR" not in environment


def test_the_container_layout_is_honoured_where_nothing_else_is_said(tmp_path, python, user_environment):
    (tmp_path / "data").mkdir()
    flag = tmp_path / "flag"
    flag.mkdir()

    _, without = plan([python], LISTEN, user_environment, tmp_path)
    _, with_flag = plan([python], LISTEN | {"data_dir": flag}, user_environment, tmp_path)
    _, with_variable = plan([python], LISTEN, user_environment | {"DATA_DIR": str(flag)}, tmp_path)

    assert without["DATA_DIR"] == str(tmp_path / "data")
    assert with_flag["DATA_DIR"] == with_variable["DATA_DIR"] == str(flag)
    assert "MODEL_DIR" not in without


def test_data_that_are_not_there_are_an_error(tmp_path, python, user_environment):
    with pytest.raises(ConfigurationError, match=r"data_dir='.*missing' is not a directory"):
        plan([python], LISTEN | {"data_dir": tmp_path / "missing"}, user_environment)


def test_a_model_directory_that_cannot_be_made_is_an_error(tmp_path, python, user_environment):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"model_dir=.* cannot be created"):
        plan([python], LISTEN | {"model_dir": tmp_path / "file" / "model"}, user_environment)


def test_a_missing_command_creates_nothing(tmp_path, user_environment):
    with pytest.raises(CommandNotFoundError):
        plan(["no-such-program"], LISTEN | {"model_dir": tmp_path / "model"}, user_environment)

    assert not (tmp_path / "model").exists()


def test_what_the_user_set_for_output_and_log_stays(python, user_environment):
    user = user_environment | {"SWARM_LOG": "debug", "PYTHONUNBUFFERED": "0"}

    _, environment = plan([python], LISTEN, user)

    assert (environment["SWARM_LOG"], environment["PYTHONUNBUFFERED"]) == ("debug", "0")


def test_a_peer_on_this_machine_is_given_an_identity(swarm, python):
    script = "import os; print(os.environ['SWARM_NAME'], os.environ['SWARM_IDENTITY'])"

    ended = swarm("run", "--listen", "127.0.0.1:0", "--name", "berlin", "--", python, "-c", script)

    name, identity = ended.stdout.split()
    assert name == "berlin"
    assert "swarm: this peer has no identity, so it was given one for this machine, as berlin, in " in ended.stderr
    assert Identity(Path(identity)).name == "berlin"


@pytest.mark.parametrize("option", [{"SWARM_INSECURE": "true"}, {"SWARM_LOOPBACK": "true"}])
def test_where_nothing_is_to_be_encrypted_it_is_given_none(swarm, python, option):
    script = "import os; print(os.environ.get('SWARM_IDENTITY'))"
    assert swarm("run", "--listen", "127.0.0.1:0", "--", python, "-c", script, **option).stdout == "None\n"


def test_a_name_that_no_certificate_can_hold_is_told(swarm, python):
    ended = swarm("run", "--listen", "127.0.0.1:0", "--name", "Site A", "--", python, "-c", "print('started')")
    assert ended.stdout == "started\n"
    assert "connections on this machine are not encrypted: 'Site A' cannot be the name of a member" in ended.stderr


def test_a_name_that_another_process_on_this_machine_has_is_refused(tmp_path, python):
    own_identity(tmp_path / "own", "berlin", exact=True)
    with pytest.raises(NameInUseError, match="another process of this user on this machine is peer 'berlin'"):
        plan([python], {"name": "berlin", "listen": "127.0.0.1:0"}, {}, own=tmp_path / "own")

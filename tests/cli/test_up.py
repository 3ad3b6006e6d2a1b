from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SHOW_PLACE = """
import os, sys
print(os.environ["SWARM_RANK"], "of", os.environ["SWARM_WORLD_SIZE"], os.environ["SWARM_NAME"])
print("complaint", file=sys.stderr)
"""

WAIT = """
import os, signal, sys, time
announce = open(sys.argv[1], "w")
def leave(number, frame):
    announce.write("polite ")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
announce.write("ready\\n")
announce.flush()
time.sleep(60)
"""


def test_each_peer_knows_its_place_and_its_output_is_prefixed(swarm, python):
    ended = swarm("up", "-n", "2", "--", python, "-c", SHOW_PLACE)

    assert sorted(ended.stdout.splitlines()) == ["peer-0 | 0 of 2 peer-0", "peer-1 | 1 of 2 peer-1"]
    assert {"peer-0 | complaint", "peer-1 | complaint"} < set(ended.stderr.splitlines())
    assert ended.stderr.splitlines()[-1] == "swarm  | all 2 peers ended well"
    assert ended.returncode == 0


def test_the_last_line_names_the_peer_that_failed(swarm, python):
    ended = swarm("up", "-n", "2", "--", python, "-c", "import os; exit(5 * int(os.environ['SWARM_RANK']))")

    assert ended.returncode == 5
    assert ended.stderr.splitlines()[-1] == "swarm  | 1 of 2 peers failed: peer-1 ended with exit code 5 (exit code 5)"


FORGETFUL = """
import sys
import torch
from swarm import SwarmCallback
model = torch.nn.Linear(2, 1)
callback = SwarmCallback(model=model, sync_interval=2)
callback.on_train_begin()
for _ in range(4):
    callback.on_batch_end()
if sys.argv[1] == "ends":
    callback.on_train_end()
"""


@pytest.mark.parametrize("ending", ["ends", "forgets"])
def test_the_last_line_says_whether_the_peers_have_a_closing_model(swarm, python, ending):
    ended = swarm("up", "-n", "2", "--model-dir", "m", "--", python, "-c", FORGETFUL, ending)

    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 0
    if ending == "ends":
        assert last.startswith("swarm  | all 2 peers ended well: closing model of round ")
        assert "/m/peer-0/swarm-final.safetensors, " in last
    else:
        assert "ended well" not in last
        assert "peer-0, peer-1 ended without a closing model (training ended without on_train_end)" in last


SCRATCH = "import os, pathlib, sys; scratch = pathlib.Path(os.environ['SCRATCH_DIR']); exec(sys.argv[1])"


def test_files_in_a_temporary_scratch_directory_are_kept_and_empty_ones_are_not(swarm, python, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    swarm("up", "-n", "2", "--", python, "-c", SCRATCH, "assert scratch.is_dir()", TMPDIR=str(temporary))
    assert not list(temporary.iterdir())

    ended = swarm("up", "-n", "2", "--", python, "-c", SCRATCH, "(scratch / 'x').touch()", TMPDIR=str(temporary))
    (scratch,) = temporary.iterdir()
    assert f"swarm  | peers left files in {scratch} (SCRATCH_DIR)" in ended.stderr.splitlines()
    assert sorted(path.relative_to(scratch).as_posix() for path in scratch.rglob("x")) == ["peer-0/x", "peer-1/x"]


def test_an_empty_scratch_directory_is_not_left_beside_the_models(swarm, python, tmp_path):
    ended = swarm("up", "-n", "1", "--model-dir", "m", "--", python, "-c", SCRATCH, "print(scratch)")

    assert ended.stdout == f"peer-0 | {tmp_path / 'm' / 'peer-0' / 'scratch'}\n"
    assert not list((tmp_path / "m" / "peer-0").iterdir())


def test_a_killed_peer_gives_the_exit_code_of_its_signal_also_in_json(swarm, python):
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

    ended = swarm("up", "-n", "1", "--json", "--", python, "-c", script)

    assert ended.returncode == 137
    record = json.loads(ended.stdout)
    assert record["exit_code"] == 137
    assert [(peer["name"], peer["signal"], peer["exit_code"]) for peer in record["peers"]] == [
        ("peer-0", "SIGKILL", None)
    ]


def test_with_json_the_outputs_of_peers_are_kept_out_of_the_document(swarm, python):
    ended = swarm("up", "-n", "1", "--json", "--", python, "-c", "print('hello')")

    assert json.loads(ended.stdout)["peers"][0]["state"] == "done"
    assert "peer-0 | hello" in ended.stderr


def test_a_script_that_is_not_here_is_taken_from_the_model_directory(swarm, python, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "train.py").write_text("import os, sys; print(sys.argv[1], os.path.basename(os.environ['MODEL_DIR']))")

    ended = swarm("up", "-n", "1", "--model-dir", "models", python, "train.py", "--epochs")

    assert ended.stdout == "peer-0 | --epochs peer-0\n"
    assert (models / "peer-0").is_dir()


def test_a_command_that_does_not_exist_is_said_before_anything_starts(swarm):
    ended = swarm("up", "-n", "2", "--", "no-such-program")

    assert ended.returncode == 127
    assert ended.stderr == "swarm: there is no command 'no-such-program': check its name and your PATH\n"


def test_a_setting_that_is_not_allowed_is_one_sentence(swarm, python):
    ended = swarm("up", "-n", "2", "--", python, "-c", "", SWARM_MIN_PEERS="3")

    assert ended.returncode == 2
    assert ended.stderr.startswith("swarm: min_peers=3 (from SWARM_MIN_PEERS) contradicts world_size=2")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_peers_politely(tmp_path, user_environment, python, number, code):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    launcher = start(user_environment, tmp_path, python, "-c", WAIT, str(fifo))

    with fifo.open() as peers:
        assert [peers.readline(), peers.readline()] == ["ready\n", "ready\n"]
        launcher.send_signal(number)
        _, errors = launcher.communicate(timeout=30)
        assert peers.read() == "polite polite "

    assert launcher.returncode == code
    assert errors.splitlines()[-1] == f"swarm  | interrupted by {number.name}: all peers have ended"


def test_peers_do_not_outlive_a_launcher_that_is_killed(tmp_path, user_environment, python):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    launcher = start({**user_environment, "TMPDIR": str(temporary)}, tmp_path, python, "-c", WAIT, str(fifo))

    with fifo.open() as peers:
        assert [peers.readline(), peers.readline()] == ["ready\n", "ready\n"]
        launcher.kill()
        launcher.communicate(timeout=30)
        assert peers.read() == "polite polite "


def start(environment: dict[str, str], directory: Path, *command: str) -> subprocess.Popen[str]:
    """``swarm up`` with two peers, not waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "swarm.cli", "up", "-n", "2", "--", *command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
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
    assert ended.stderr.splitlines()[-1] == "swarm  | FAILED peer-1 before joining: exit code 5; 1 of 2 finished"


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

    *_, before, last = ended.stderr.splitlines()
    assert ended.returncode == 0
    if ending == "ends":
        assert before.startswith("swarm  | all 2 peers ended well, ")
        assert re.fullmatch(
            r"swarm  \| RESULT m/peer-\*/swarm-final\.safetensors, \d rounds, digest [0-9a-f]{12}…", last
        )
    else:
        assert "ended well" not in before + last
        assert "peer-0, peer-1 ended without a closing model (training ended without on_train_end)" in last


def on_a_terminal(environment, directory: Path, *command: str) -> tuple[int, str]:
    """Exit code of ``swarm up`` on a terminal of 40 rows and 120 columns, and all text that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    variables = {**environment, "TERM": "xterm-256color", "NO_COLOR": "1"}
    up = [sys.executable, "-m", "swarm.cli", "up", *command]
    with subprocess.Popen(up, cwd=directory, env=variables, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # as Linux says that the other side is closed
            while data := os.read(ours, 65536):
                written += data
    os.close(ours)
    text = written.decode()
    assert not re.search(r"\x1b\[[\d;]*3\dm", text), "NO_COLOR is set"
    return process.returncode, re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def test_on_a_terminal_rounds_are_in_the_log_file_and_the_result_is_the_last_line(user_environment, tmp_path, python):
    script = FORGETFUL.replace("import sys\n", "import sys\nprint('hello')\n")

    code, screen = on_a_terminal(user_environment, tmp_path, "--model-dir", "m", "--", python, "-c", script, "ends")

    assert code == 0
    assert "peer-0 | hello\r\n" in screen
    assert not re.search(r"\| .*INFO swarm: round 1", screen)
    assert re.search(r"peer-1 +done", screen)
    last = screen.rstrip().splitlines()[-1]
    assert last.startswith("swarm  | RESULT m/peer-*/swarm-final.safetensors, ")
    log = (tmp_path / "m" / "swarm-up.log").read_text()
    assert f"all that the peers wrote is in {tmp_path / 'm' / 'swarm-up.log'}" in screen
    assert len(re.findall(r"peer-[01] \| [\d:]+ INFO swarm: round 1: 2 peers", log)) == 2


def test_on_a_terminal_a_traceback_that_all_share_is_shown_once(user_environment, tmp_path, python):
    (tmp_path / "train.py").write_text("print('begins')\nimport nopackage\n")

    code, screen = on_a_terminal(user_environment, tmp_path, "-n", "3", "--", python, "train.py")

    assert code == 1
    assert screen.count("Traceback (most recent call last)") == 1
    lines = screen.split("\r\n")
    assert "swarm  | ALL 3 FAILED ALIKE: No module named 'nopackage' (train.py:2)" in lines


MISTAKEN = """
import torch
from swarm import SwarmCallback
SwarmCallback(model=torch.nn.Linear(2, 1), sync_intervall=2)
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_an_error_of_swarm_is_one_sentence_with_its_place_and_a_traceback_if_asked_for(
    swarm, python, tmp_path, verbose
):
    (tmp_path / "train.py").write_text(MISTAKEN)

    ended = swarm("up", "-n", "1", *(["-v"] if verbose else []), "--", python, "train.py")

    sentence = "there is no argument 'sync_intervall': did you mean 'sync_interval'?"
    assert ended.returncode == 1
    assert ("Traceback" in ended.stderr) is verbose
    assert f"FAILED peer-0 before joining: {sentence} (train.py:4); 0 of 1 finished" in ended.stderr
    if not verbose:
        first, *_ = ended.stderr.splitlines()
        assert first.endswith(f"ERROR swarm: {sentence} (train.py:4)")


@pytest.mark.parametrize(("given", "shown"), [({}, False), ({"SWARM_TRACEBACK": "full"}, True)])
def test_an_error_of_a_command_has_a_traceback_if_asked_for(swarm, given, shown):
    ended = swarm("up", "--", "no-such-program", **given)

    assert ended.returncode == 127
    assert ("Traceback" in ended.stderr) is shown
    assert ended.stderr.splitlines()[-1].startswith("swarm: there is no command")


@pytest.mark.parametrize("variable", ["SWARM_TRACEBACK", "SWARM_LOG_FORMAT"])
def test_a_format_that_there_is_not_is_refused_by_name(swarm, python, variable):
    ended = swarm("up", "--", python, "-c", "", **{variable: "odd"})

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"swarm: {variable}='odd' is not ")


MISSING = """
import os, time
if os.environ["SWARM_RANK"] == "2":
    open("train.npz")
import numpy
from swarm.config import resolve
from swarm.session import Session
from swarm.testing.swarm import ArrayModel
session = Session(resolve({"sync_interval": 1}).settings, ArrayModel({"w": numpy.zeros(4)}))
session.begin()
time.sleep(4)  # a failure is said after a second, to those that still train
session.advance()
session.end()
"""


def test_a_peer_that_ends_before_joining_is_said_and_the_others_start_without_waiting(swarm, python, tmp_path):
    """They would wait for 30 seconds otherwise, and say so."""
    (tmp_path / "train.py").write_text(MISSING)

    ended = swarm("up", "-n", "3", "--", python, "train.py", SWARM_STRAGGLER_TIMEOUT="600", SWARM_START_TIMEOUT="900")

    assert "swarm  | peer-2 ended before joining: train.npz missing (train.py:4); starting with 2" in ended.stderr
    assert ended.stderr.splitlines()[-2].endswith(
        "FAILED peer-2 before joining: train.npz missing (train.py:4); 2 of 3 finished"
    )
    assert "RESULT" in ended.stderr.splitlines()[-1]


def test_with_json_lines_all_output_is_json(swarm, python):
    script = "import logging, sys; print('hello'); print('complaint', file=sys.stderr); sys.exit(3)"

    ended = swarm("up", "-n", "1", "--", python, "-c", script, SWARM_LOG_FORMAT="json")

    printed = [json.loads(line) for line in ended.stdout.splitlines()]
    complaint, failure = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["peer"], line["message"]) for line in printed] == [("peer-0", "hello")]
    assert (complaint["peer"], complaint["message"]) == ("peer-0", "complaint")
    assert (failure["logger"], failure["message"]) == (
        "swarm.up",
        "FAILED peer-0 before joining: exit code 3; 0 of 1 finished",
    )


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

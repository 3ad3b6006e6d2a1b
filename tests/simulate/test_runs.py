"""Swarms of real peers: threads of a task, forked processes of a script, and processes of ``swarm up``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.errors import ConfigurationError
from swarm.simulate import forked, local
from swarm.simulate.plan import Plan

PEERS = 4
STEPS = 24
SETTINGS = {"sync_interval": 4}
AS_A_SCRIPT = f"""
import os
import torch
from swarm import SwarmCallback
from swarm.simulate.tasks import Trainee, load

rank = int(os.environ["SWARM_RANK"])
torch.set_num_threads(1)
sites = load("digits", "dir0.5", {PEERS}, 0)
trainee = Trainee(sites.train[rank], 10, 0, rank)
callback = SwarmCallback(model=trainee.model, optimizer=trainee.optimizer, sync_interval=SYNC_INTERVAL)
callback.on_train_begin()
for loss in trainee.train({STEPS}):
    callback.on_batch_end(loss=loss)
callback.on_train_end()
print("accuracy", trainee.accuracy(sites.test))
"""
STUCK = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """For temporary files: the path of a socket may not be as long as those of ``tmp_path`` can be."""
    with tempfile.TemporaryDirectory(prefix="test-") as name:
        yield Path(name)


def plan(program: Path | str, tmp_path: Path, peers: int = PEERS, **more) -> Plan:
    is_task = isinstance(program, str)
    given = {"choice": SETTINGS, "directory": str(tmp_path / "out"), "steps": STEPS, **more}
    return Plan(program=str(program), is_task=is_task, peers=peers, **given)


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.timeout(300)
def test_a_task_a_script_and_real_processes_train_the_same_model(tmp_path):
    pytest.importorskip("sklearn")
    threads = local.run(plan("digits", tmp_path), timeout=100)
    assert threads.failures == []
    expected = [threads.qualities[rank][1] for rank in range(PEERS)]
    assert len(set(expected)) == 1

    # the script asks for another interval than the choice, which wins
    simulated = local.run(plan(script(tmp_path, AS_A_SCRIPT.replace("SYNC_INTERVAL", "128")), tmp_path), timeout=100)
    assert simulated.failures == []
    assert [simulated.qualities[rank] for rank in range(PEERS)] == [("accuracy", pytest.approx(v)) for v in expected]
    assert simulated.mean("swarm_rounds") == threads.mean("swarm_rounds") >= STEPS / 4

    command = [sys.executable, "-m", "swarm.cli", "up", "-n", str(PEERS), "--no-table", "--", sys.executable]
    real = subprocess.run(
        [*command, str(script(tmp_path, AS_A_SCRIPT.replace("SYNC_INTERVAL", "4")))],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    found = [float(number) for number in re.findall(r"accuracy ([\d.]+)", real.stdout)]
    assert found == [pytest.approx(value, abs=0.01) for value in expected]


def test_each_peer_of_a_script_has_its_place_its_data_and_its_arguments(tmp_path):
    text = """
import os, sys
print("accuracy", os.environ["SWARM_RANK"], os.path.basename(os.environ["DATA_DIR"]), sys.argv[1:])
print(sys.argv[0] == __file__, __name__, os.path.basename(os.environ["MODEL_DIR"]))
"""
    for rank in range(2):
        (tmp_path / "data" / f"peer-{rank}").mkdir(parents=True)
    given = plan(script(tmp_path, text), tmp_path, 2, arguments=("-x", "1"), data_dir=str(tmp_path / "data"))
    run = local.run(given, timeout=60)
    assert run.failures == []
    for rank in range(2):
        assert given.log(rank).read_text(encoding="utf-8").splitlines() == [
            f"accuracy {rank} peer-{rank} ['-x', '1']",
            f"True __main__ peer-{rank}",
        ]
        assert run.qualities[rank] == ("accuracy", rank)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os\nif os.environ['SWARM_RANK'] == '1':\n    raise ValueError('no data')", "ValueError: no data .*3"),
        ("import os, sys\nif os.environ['SWARM_RANK'] == '1':\n    sys.exit(3)", "exit code 3 .*3"),
        (
            "import os, sys\nif os.environ['SWARM_RANK'] == '1':\n    sys.exit('no data')",
            "ended with the message 'no data' .*3",
        ),
        ("import os, signal\nif os.environ['SWARM_RANK'] == '1':\n    os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("import os\nif os.environ['SWARM_RANK'] == '1':\n    os._exit(4)", "exit code 4 and told no result"),
    ],
)
def test_a_peer_that_fails_is_named_with_its_line_and_the_others_are_ended(tmp_path, text, reason):
    waits = "\nif os.environ['SWARM_RANK'] == '0':\n    import time; time.sleep(600)"
    run = local.run(plan(script(tmp_path, text + waits), tmp_path, 3), timeout=60)
    (failure,) = run.failures
    assert re.match(f"peer-1: .*{reason}", failure), failure


def test_a_script_that_cannot_be_parsed_is_told(tmp_path):
    run = local.run(plan(script(tmp_path, "import os\nif"), tmp_path, 2), timeout=60)
    (failure,) = run.failures
    assert failure == "peer-0, peer-1: SyntaxError: invalid syntax (train.py, line 2)"


def test_data_that_do_not_suffice_for_a_task_are_told(tmp_path):
    pytest.importorskip("sklearn")
    run = local.run(plan("digits", tmp_path, 64, partition="quantity"), timeout=100)
    assert run.failures == ["a site would have 5 samples, fewer than 10: choose other sizes, or fewer peers"]


def test_a_peer_that_does_not_end_is_named(tmp_path):
    text = "import os, time\nif os.environ['SWARM_RANK'] == '1':\n    time.sleep(600)"
    run = local.run(plan(script(tmp_path, text), tmp_path, 2), timeout=10)
    assert run.failures == ["peer-1 did not end within 10 s"]


def test_peers_that_do_not_end_are_ended(tmp_path):
    ready = tmp_path / "ready"
    began = time.monotonic()
    run = local.run(plan(script(tmp_path, STUCK), tmp_path, 2, arguments=(str(ready),)), timeout=5)
    assert run.failures == ["all 2 peers did not end within 5 s"]
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_command_is_ended(tmp_path, short_directory, number):
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "swarm.cli", "simulate", str(script(tmp_path, STUCK)), "-n", "2", "--", str(ready)]
    temporary = short_directory
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    wait_for(ready.exists, until)
    assert list(temporary.glob("swarm-*"))
    process.send_signal(number)
    process.wait(60)
    wait_for(lambda: not mentioning(str(tmp_path)), until)
    wait_for(lambda: not list(tmp_path.rglob("rendezvous")), until)
    wait_for(lambda: not list(temporary.iterdir()), until)


def test_what_a_killed_run_has_left_does_not_disturb_the_next_one(tmp_path):
    given = plan(script(tmp_path, "print('accuracy 1')"), tmp_path, 2)
    left = Path(given.directory, "rendezvous", "sessions")
    left.mkdir(parents=True)
    (left / "0.json").write_text("{", encoding="utf-8")
    assert local.run(given, timeout=60).qualities == {0: ("accuracy", 1.0), 1: ("accuracy", 1.0)}
    assert not left.exists()


def test_sockets_that_a_killed_run_has_left_are_removed_and_those_of_others_are_an_error(
    tmp_path, short_directory, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(short_directory))
    given = plan(script(tmp_path, "print('accuracy 1')"), tmp_path, 2)
    left = local.sockets_of(given)
    assert left == local.sockets_of(given) != local.sockets_of(plan("digits", tmp_path / "other"))
    left.mkdir()
    (left / "peer-0").touch()
    assert local.run(given, timeout=60).failures == []
    assert not left.exists()
    left.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match=re.escape(str(left))):
        local.run(given, timeout=60)
    assert (tmp_path / "train.py").exists()


def wait_for(condition, until: float) -> None:
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def mentioning(text: str) -> list[str]:
    """The command lines of processes that mention a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text(encoding="utf-8", errors="replace")
            if text in words and "swarm.simulate.host" in words:
                found.append(words)
    return found


def test_the_modules_to_load_are_the_installed_ones_of_the_outermost_lines(tmp_path):
    (tmp_path / "mine.py").touch()
    text = "import os.path, mine\nfrom json import loads\nfrom . import near\ndef f():\n    import csv\n"
    assert forked.libraries(script(tmp_path, text)) == ["os.path", "json"]
    assert forked.libraries(script(tmp_path, "if")) == []


def test_a_module_that_starts_a_thread_is_left_to_the_peers(tmp_path):
    package = tmp_path / "elsewhere"
    package.mkdir()
    text = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    (package / "starts_a_thread.py").write_text(text, encoding="utf-8")
    program = script(tmp_path, "import threading, starts_a_thread\nprint('accuracy', threading.active_count())")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}
    run = local.run(plan(program, tmp_path, 2), timeout=60, environment=environment)
    assert run.failures == []
    assert run.qualities == {0: ("accuracy", 2.0), 1: ("accuracy", 2.0)}  # its own, and that of the module

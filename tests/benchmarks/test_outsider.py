from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.fleet.processes import Training
from benchmarks.outsider.__main__ import GROWTH, Findings, figures
from benchmarks.outsider.connections import SOURCE, Connections, sending
from benchmarks.outsider.ports import listening

pytest.importorskip("torch")
pytest.importorskip("mlxtend")

ROOT = Path(__file__).parents[2]
TRAINING = Training(peers=3, seed=0, hidden=8, sync_interval=4, pause=0.0, failure_timeout=1.0)


def findings(**changed: object) -> Findings:
    memory = dict.fromkeys(TRAINING.names, 100.0)
    given = {
        "resting": [(2.0, 20.0), (2.0, 22.0), (2.0, 18.0)],
        "attacked": {"garbage": (2.0, 21.0), "silence": (2.0, 17.0)},
        "before": memory,
        "most": memory | {"peer-1": 100.0 + GROWTH},
        "after": memory,
    }
    return Findings(**(given | changed))


def test_a_short_run_with_real_peers():
    command = [sys.executable, "-m", "benchmarks.outsider", "--json", "--peers", "3", "--seconds", "0.5"]
    chosen = ["--rest", "0.5", "--only", "garbage", "--only", "data: no certificate"]
    done = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["attacks"], found["crashes"], found["hangs"]) == (2, 0, 0)
    assert found["rounds_per_second"] > 0
    assert set(found["slowdown_of"]) == {"garbage", "data: no certificate"}
    assert set(found["growth_mb"]) == {"peer-0", "peer-1", "peer-2"}


def test_the_slow_down_is_that_of_all_attacks_together():
    found = figures(TRAINING, findings(), ["garbage", "silence"])
    assert (found["rounds_per_second"], found["slowdown"]) == (10.0, 0.05)
    assert found["slowdown_of"] == {"garbage": 0.0, "silence": 0.15}
    assert found["growth_mb"] == {"peer-0": 0.0, "peer-1": GROWTH, "peer-2": 0.0}
    assert all(found["gates"].values())


@pytest.mark.parametrize(
    ("gate", "changed"),
    [
        ("crashes", {"crashes": ["peer-0 ended"]}),
        ("hangs", {"hangs": ["no merge"]}),
        ("slowdown", {"attacked": {"garbage": (4.0, 35.0)}}),
        ("growth_mb", {"most": dict.fromkeys(TRAINING.names, 101.0 + GROWTH)}),
    ],
)
def test_each_gate_can_be_missed(gate, changed):
    gates = figures(TRAINING, findings(**changed), ["garbage"])["gates"]
    assert [name for name, met in gates.items() if not met] == [gate]


def test_the_ports_of_a_process_are_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] in listening(os.getpid())


def test_an_outsider_comes_from_an_address_of_its_own_and_sends_what_it_should():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened = Connections([server.getsockname()], 2, sending(b"garb", b"age"))
        thread = threading.Thread(target=opened.run, args=(stop,))
        thread.start()
        for _ in range(2):
            sock, (host, _) = server.accept()
            with sock:
                assert host == SOURCE
                assert sock.recv(7, socket.MSG_WAITALL) == b"garbage"
        stop.set()
        thread.join(10)
        assert not thread.is_alive()

"""A Slurm cluster of one node, for tests: its daemons, and an empty directory in which jobs are submitted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
DEADLINE = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which the commands of Slurm reach the cluster."""
    # Paths of sockets are short.
    directory = Path(f"/tmp/swarm-slurm-{os.getpid()}")
    for name in ("state", "spool"):
        (directory / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    configuration = directory / "slurm.conf"
    text = CONFIGURATION.format(host=host, directory=directory, controller=free_port(), daemon=free_port())
    configuration.write_text(text, encoding="utf-8")
    key = directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    hidden = ("SWARM_", "SLURM_", "MODEL_DIR", "DATA_DIR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment["SLURM_CONF"] = str(configuration)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}:/usr/sbin"
    munge = [f"--{name}-file={directory}/munge.{name}" for name in ("pid", "seed", "log")]
    daemons = [
        ["munged", "--foreground", "--force", f"--socket={directory}/munge.socket", f"--key-file={key}", *munge],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", host],
    ]
    running = []
    try:
        for daemon in daemons:
            running.append(
                subprocess.Popen(daemon, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            until((directory / "munge.socket").exists, "munged listens")
        until(lambda: "idle" in _said(["sinfo", "--noheader"], environment), "the node is idle")
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(DEADLINE)
        shutil.rmtree(directory)


def _said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

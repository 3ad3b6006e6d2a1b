"""What a scheduler of a cluster tells each of its tasks: rank, number of peers, and where the first one listens.

Slurm, an indexed Job of a JobSet on Kubernetes, and torchrun. Each task of such a job is a peer of one swarm. Where
tasks of Slurm start torchrun, each of its processes is one. All of this is used where nothing else gives the setting.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swarm.addresses import join
from swarm.config.sources import Value, from_environment, from_file
from swarm.errors import ConfigurationError

FIRST_PORT = 20000
PORTS = 10000
"""Of jobs on Slurm: below the ports that Linux gives to outgoing connections."""
POD_PORT = 7700
"""Each pod has an address of its own, so all use the same."""
HIGHEST_PORT = 65535
SIZE = "SWARM_WORLD_SIZE"
PLACES = frozenset({"listen", "peers", "rendezvous", "discovery", "loopback"})
"""Settings that say where the swarm is."""
TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
"""Number of tasks of a step of Slurm; the first that is there."""
SLURM = re.compile(r"SLURM_(NTASKS|NPROCS|PROCID|LOCALID|NODEID|STEP_NUM_TASKS|TASKS_PER_NODE)$")
TORCHRUN = re.compile(r"((LOCAL_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|(GROUP|ROLE|TORCHELASTIC)_.*)$")
"""Variables by which frameworks would take the peers for the processes of one training."""
ELASTIC = "TORCHELASTIC_RUN_ID"
"""A variable that only torchrun sets."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The place of this task."""

    scheduler: str = ""
    """Its name; empty where there is none."""
    rank: int = 0
    size: int = 1
    values: Mapping[str, Value] = field(default_factory=dict)
    """Settings, with the variables that they come from."""
    place: Mapping[str, Value] = field(default_factory=dict)
    """Those that say where the swarm is: for where no other source says so."""
    hidden: Callable[[str], object] = lambda _: None
    """Whether a variable is to be kept from the script."""

    def settings(self, user: Mapping[str, str], given: Mapping[str, object]) -> dict[str, Value]:
        """The settings that follow from it.

        Args:
            user: the environment.
            given: options, by name of setting; None is not given.
        """
        said = {*from_file(user, Path()), *from_environment(user)}
        said.update(name for name, value in given.items() if value is not None)
        return {**self.values, **({} if said & PLACES else self.place)}


NO_CLUSTER = Cluster()


def cluster_of(environment: Mapping[str, str], host: Callable[[], str] = socket.getfqdn) -> Cluster:
    """The place of this task in a job of several; ``NO_CLUSTER`` where it is in none.

    Args:
        environment: of this process.
        host: gives the full name of this machine.

    Raises:
        ConfigurationError: what the scheduler says is not enough, or contradicts itself.
    """
    torchrun, slurm = _torchrun(environment), _slurm(environment)
    # A process of torchrun has the variables of the task of Slurm that started it, and other processes have the same.
    first = (torchrun, slurm) if ELASTIC in environment else (slurm, torchrun)
    for found in (*first, _jobset(environment, host)):
        if found is None:
            continue
        if found.rank >= found.size:
            rank, size = (
                found.values[name].origin if name in found.values else SIZE for name in ("rank", "world_size")
            )
            raise ConfigurationError(
                f"{rank}={found.rank} contradicts {size}={found.size}: allowed is 0 to {found.size - 1}"
            )
        return found
    return NO_CLUSTER


def _slurm(environment: Mapping[str, str]) -> Cluster | None:
    """A task that ``srun`` has started. The script of ``sbatch`` itself has no step."""
    # In the shell of salloc, a step of one task, SLURM_NTASKS is the number of tasks that the job may have.
    tasks = next((name for name in TASKS if environment.get(name, "").strip()), TASKS[-1])
    size = _number(environment, tasks)
    if size < 2 or "SLURM_STEP_ID" not in environment:
        return None
    rank = _rank(environment, "SLURM_PROCID")
    nodes = "SLURM_STEP_NODELIST" if "SLURM_STEP_NODELIST" in environment else "SLURM_JOB_NODELIST"
    alone = _number(environment, "SLURM_STEP_NUM_NODES", _number(environment, "SLURM_JOB_NUM_NODES", 1)) == 1
    number = _number(environment, "SLURM_JOB_ID") + _number(environment, "SLURM_STEP_ID")
    port = FIRST_PORT + number % PORTS
    values = {"rank": Value(rank, "SLURM_PROCID"), "world_size": Value(size, tasks)}
    place = _place(rank, first_host(environment.get(nodes, "")), port, alone=alone, origin=nodes)
    return Cluster("Slurm", rank, size, values, place, SLURM.match)


def _torchrun(environment: Mapping[str, str]) -> Cluster | None:
    size = _number(environment, "WORLD_SIZE")
    if size < 2 or not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    rank, port = _rank(environment, "RANK"), _number(environment, "MASTER_PORT")
    if not 0 < port < HIGHEST_PORT:
        raise ConfigurationError(f"MASTER_PORT={port} (from torchrun) leaves no port above it: allowed is 1 to 65534")
    alone = _number(environment, "LOCAL_WORLD_SIZE") == size
    values = {"rank": Value(rank, "RANK"), "world_size": Value(size, "WORLD_SIZE")}
    # The port itself is that of torchrun's own rendezvous.
    place = _place(rank, environment["MASTER_ADDR"], port + 1, alone=alone, origin="MASTER_ADDR")
    return Cluster("torchrun", rank, size, values, place, lambda name: TORCHRUN.match(name) or SLURM.match(name))


def _jobset(environment: Mapping[str, str], host: Callable[[], str]) -> Cluster | None:
    """A pod of an indexed Job behind a headless service, as a JobSet makes it: its host is named after its index.

    The manifest has to give the number of pods (``SIZE``).
    """
    if not environment.get("JOB_COMPLETION_INDEX", "").strip():
        return None
    rank, size = _number(environment, "JOB_COMPLETION_INDEX"), _number(environment, SIZE)
    if size < 2:
        return None
    name, dot, domain = host().partition(".")
    if not name.endswith(f"-{rank}") or not dot:
        raise ConfigurationError(
            f"this pod is called {name + dot + domain!r}, from which the address of the first one does not follow: "
            "run the Job in a JobSet with network.enableDNSHostnames, or set SWARM_PEERS and SWARM_LISTEN"
        )
    first = f"{name.removesuffix(f'-{rank}')}-0.{domain}"
    values = {"rank": Value(rank, "JOB_COMPLETION_INDEX")}
    place = _place(rank, first, POD_PORT, alone=False, origin="JOB_COMPLETION_INDEX")
    return Cluster("JobSet", rank, size, values, place)


def _place(rank: int, first: str, port: int, *, alone: bool, origin: str) -> dict[str, Value]:
    """Where a task listens, and whom it asks for the others: the first one.

    ``alone`` tells that all tasks are on one machine, so that nothing leaves it.
    """
    if alone:
        first, listen = "127.0.0.1", "127.0.0.1"
    else:
        listen = "0.0.0.0"  # noqa: S104 - of this machine only where the settings allow it
    peers = (join(first, port),) if rank else ()
    return {"listen": Value(join(listen, port if rank == 0 else 0), origin), "peers": Value(peers, origin)}


def first_host(nodes: str) -> str:
    """The first host of a list as Slurm writes it, such as ``rack[1-2]n[01-04,09],login``.

    Raises:
        ConfigurationError: there is none.
    """
    first = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", nodes.strip())
    if first is None:
        raise ConfigurationError(
            f"the list of nodes {nodes!r} (from Slurm) has no host: set SWARM_PEERS and SWARM_LISTEN"
        )
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0])


def _rank(environment: Mapping[str, str], name: str) -> int:
    """A rank that must be there: several tasks would else all be the first one."""
    if not environment.get(name, "").strip():
        raise ConfigurationError(
            f"{name} is not set, so the rank of this task is not known: set it, or SWARM_RANK, SWARM_WORLD_SIZE and "
            "SWARM_PEERS without the variables of the scheduler"
        )
    return _number(environment, name)


def _number(environment: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return otherwise
    if not (text.isascii() and text.isdecimal()):
        raise ConfigurationError(
            f"{name}={text!r} is no number: unset it, or set SWARM_RANK, SWARM_WORLD_SIZE and SWARM_PEERS"
        )
    return int(text)

"""The environment in which ``swarm up`` and ``swarm run`` start a training script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from swarm import uncaught
from swarm.cli.directories import Directories
from swarm.cli.program import search_path
from swarm.logs import log_format

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"
)
"""One computing thread, for peers that share the cores of a machine."""

_DEFAULTS: Mapping[str, str] = {"PYTHONUNBUFFERED": "1", "SWARM_LOG": "info", uncaught.VARIABLE: "short"}


def with_tracebacks(user: Mapping[str, str], *, full: bool) -> Mapping[str, str]:
    """The user's environment, in which ``full`` asks for the tracebacks of Swarm's errors."""
    return {**user, uncaught.VARIABLE: "full"} if full else user


def machine_authority(user: Mapping[str, str]) -> Path:
    """Directory of the authority that gives identities to this user's peers on this machine."""
    home = user.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home, "swarm-learning", "this-machine")


def peer_name(rank: int) -> str:
    """The name of one of several peers on this machine."""
    return f"peer-{rank}"


def peer_identity(rank: int, rendezvous: Path) -> Path:
    """Directory with the throw-away identity of a peer; it ends with the directory in which the peers meet."""
    return rendezvous / "identities" / peer_name(rank)


def launcher_identity(rendezvous: Path) -> Path:
    """Directory with the throw-away identity with which the peers are asked for their status."""
    return rendezvous / "identities" / "launcher"


def local_place(rank: int, world_size: int, rendezvous: Path) -> dict[str, str]:
    """The variables that make a peer one of several on this machine; they beat every other source but arguments."""
    return {
        "SWARM_NAME": peer_name(rank),
        "SWARM_RANK": str(rank),
        "SWARM_WORLD_SIZE": str(world_size),
        "SWARM_RENDEZVOUS": str(rendezvous),
        "SWARM_DISCOVERY": "directory",
        "SWARM_LISTEN": "127.0.0.1:0",
        "SWARM_ADVERTISE": "",
        "SWARM_DATA_PORT": "0",
        "SWARM_PEERS": "",
        "SWARM_LOOPBACK": "false",
    }


def of_peer(user: Mapping[str, str], settings: Mapping[str, str], directories: Directories) -> dict[str, str]:
    """The user's environment, with the settings and directories of a peer.

    Its output is unbuffered, its log shown, and an error of Swarm that ends it one sentence, unless the user's
    environment says otherwise.

    Raises:
        ConfigurationError: the environment has a format of the log, or of errors, that there is not.
    """
    log_format(user)
    uncaught.choice(user, "short")
    return {**_DEFAULTS, **user, "PATH": search_path(user), **settings, **directories.variables()}

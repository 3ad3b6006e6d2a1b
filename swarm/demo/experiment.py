"""Trains one task in the three ways."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from swarm.cli.environment import ONE_THREAD
from swarm.clock import MonotonicClock
from swarm.demo.outcome import Outcome, Training
from swarm.demo.processes import Job, run_all
from swarm.demo.progress import Forecast, Part, Standing
from swarm.demo.report import draw
from swarm.demo.sites import Sites, pooled_directory, site_directory, write
from swarm.demo.tasks import Task, keras_backend, script

TIMEOUT = 900.0
"""Most seconds of one training."""

_AT_ONCE = 2
"""Trainings outside the swarm that run at a time: a demo must not use the whole machine."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One task with its settings; ``directory`` is for its data, trainings, picture and model."""

    task: Task
    framework: str
    peers: int
    sync_interval: int
    seed: int
    directory: Path

    def run(self, report: Callable[[str], None], watch: Callable[[Standing], None] = lambda _: None) -> Outcome:
        """Prepare the data, train alone, pooled and in the swarm, and draw the picture.

        Args:
            report: gets a line for each step that begins or has ended.
            watch: called many times per second with how far it is.

        Raises:
            DemoError: a training failed.
        """
        began = time.monotonic()
        sites = self.task.load(self.peers, self.seed)
        write(sites, self._data)
        report(f"{sum(map(len, sites.train))} {self.task.samples} to train on, {len(sites.test)} held out to test on")
        singles, together = [*self._alone(), *self._pooled()], self._swarm()
        forecast = Forecast(self._parts(singles, together), MonotonicClock())

        def finished(job: Job, seconds: float) -> None:
            forecast.finished(job.name, seconds)
            report("the swarm has closed" if job is together else f"trained {job.name}")

        def look(running: Mapping[str, float]) -> None:
            watch(forecast.standing(running))

        run_all(singles, at_once=_AT_ONCE, timeout=TIMEOUT, finished=finished, watch=look)
        report(f"{self.peers} peers train in the swarm")
        run_all([together], at_once=1, timeout=TIMEOUT, finished=finished, watch=look)
        return self._outcome(sites, began)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @cached_property
    def _environment(self) -> Mapping[str, str]:
        """The user's environment without settings of Swarm, and with one computing thread for each process."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
        if self.framework == "keras":
            environment["KERAS_BACKEND"] = keras_backend()
        return {**ONE_THREAD, **environment}

    def _parts(self, singles: Sequence[Job], together: Job) -> list[Part]:
        """The trainings, with how long they take: those outside the swarm run at the same time as others."""
        cores = os.cpu_count() or 1
        at_once = min(_AT_ONCE, cores)
        rounds = self.task.epochs * self.task.steps // self.sync_interval
        swarm = Part(job=together, work=self.peers / min(cores, self.peers), rounds=max(rounds, 1))
        return [*(Part(job=job, work=1 / at_once) for job in singles), swarm]

    def _alone(self) -> list[Job]:
        return [
            self._single(f"alone-{rank}", site_directory(self._data, rank), self.task.batch_size, rank)
            for rank in range(self.peers)
        ]

    def _pooled(self) -> list[Job]:
        """One with the batch size of a peer, one with that of all peers together; the better one counts."""
        sizes = (self.task.batch_size, self.task.batch_size * self.peers)
        return [self._single(f"pooled-{size}", pooled_directory(self._data), size, rank=0) for size in sizes]

    def _single(self, name: str, data: Path, batch_size: int, rank: int) -> Job:
        directory = self.directory / name
        place = {"SWARM_LOOPBACK": "true", "SWARM_RANK": str(rank)}
        return Job(
            name=name,
            command=self._train(batch_size),
            environment={**self._environment, **place, "DATA_DIR": str(data), "MODEL_DIR": str(directory)},
            directory=directory,
        )

    def _swarm(self) -> Job:
        directory = self.directory / "swarm"
        up = [sys.executable, "-m", "swarm.cli", "up", "-n", str(self.peers)]
        paths = ["--data-dir", str(self._data), "--model-dir", str(directory)]
        return Job(
            name="swarm",
            command=[*up, *paths, "--", *self._train(self.task.batch_size)],
            environment=self._environment,
            directory=directory,
        )

    def _train(self, batch_size: int) -> Sequence[str]:
        options = {
            "--epochs": self.task.epochs,
            "--steps": self.task.steps,
            "--batch-size": batch_size,
            "--sync-interval": self.sync_interval,
            "--seed": self.seed,
        }
        path = script(self.task.scripts[self.framework])
        return [sys.executable, str(path), *(str(word) for option in options.items() for word in option)]

    def _outcome(self, sites: Sites, began: float) -> Outcome:
        ranks = range(self.peers)
        pooled = [Training.read(job.directory) for job in self._pooled()]
        merged = next((self.directory / "swarm" / "peer-0").glob("model.*"))
        outcome = Outcome(
            task=self.task.name,
            framework=self.framework,
            sync_interval=self.sync_interval,
            seed=self.seed,
            sites=sites.names,
            samples=tuple(map(len, sites.train)),
            alone=tuple(Training.read(self.directory / f"alone-{rank}") for rank in ranks),
            swarm=tuple(Training.read(self.directory / "swarm" / f"peer-{rank}") for rank in ranks),
            pooled=max(pooled, key=lambda training: training.accuracy),
            seconds=round(time.monotonic() - began, 1),
            picture=self.directory / "accuracy.png",
            model=Path(shutil.copy2(merged, self.directory)),
        )
        draw(outcome)
        return outcome

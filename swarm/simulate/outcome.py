"""What came of a choice, and which choice is recommended."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from swarm.simulate.choices import Choice, label
from swarm.simulate.plan import PeerEnd

VALIDATION = "swarm_val_"
"""What the names of validation figures in a callback's metrics begin with."""
PRINTED = ("accuracy", "loss")
"""Figures that are looked for in what a script prints, if its callback validates nothing."""
UNMERGED = "nothing was merged: use a callback of Swarm in the script, and train for at least one sync_interval"
_LAST_LINES = 50
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One swarm."""

    ends: Sequence[PeerEnd]
    """Of the peers that have told it."""
    qualities: Mapping[int, tuple[str, float]]
    """By rank: the figure that says how good the peer's last model is, and its name."""
    seconds: float
    mebibytes: float | None
    """The most memory of all peers together."""
    problem: str = ""
    """Why the swarm as a whole did not end well; empty otherwise."""

    @property
    def failures(self) -> list[str]:
        """One sentence for each way in which peers failed, which names them, and one for the whole."""
        peers: dict[str, list[str]] = {}
        for end in self.ends:
            if end.failure:
                peers.setdefault(end.failure, []).append(f"peer-{end.rank}")
        failed = [f"{', '.join(names)}: {failure}" for failure, names in peers.items()]
        return [*failed, *([self.problem] if self.problem else [])]

    def mean(self, metric: str) -> float:
        """The mean of a figure of the callbacks over the peers; 0 if there is none."""
        return fmean([end.metrics.get(metric, 0.0) for end in self.ends] or [0.0])


@dataclass(slots=True)
class Outcome:
    """The runs of one choice."""

    choice: Choice
    runs: list[Run] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Of all runs."""
        return [failure for run in self.runs for failure in run.failures]

    @property
    def figure(self) -> str:
        """The name of the figure that says how good a model is; empty if no peer has one."""
        return next((name for run in self.runs for name, _ in run.qualities.values()), "")

    @property
    def qualities(self) -> list[float]:
        """For each run, the mean over its peers; without runs that have none."""
        return [fmean(value for _, value in run.qualities.values()) for run in self.runs if run.qualities]

    @property
    def quality(self) -> float | None:
        """The mean over runs; None if there is none, if a peer failed, or if it is NaN or infinite."""
        if self.failures or not self.qualities:
            return None
        mean = fmean(self.qualities)
        return mean if math.isfinite(mean) else None

    @property
    def rounds(self) -> float:
        """Of a peer."""
        return fmean(run.mean("swarm_rounds") for run in self.runs)

    @property
    def bytes_per_peer(self) -> float:
        """Sent by a peer."""
        return fmean(run.mean("swarm_bytes_sent") for run in self.runs)

    @property
    def seconds(self) -> float:
        """Of a run."""
        return fmean(run.seconds for run in self.runs)

    @property
    def mebibytes(self) -> float | None:
        """The most of all runs."""
        return max((run.mebibytes for run in self.runs if run.mebibytes is not None), default=None)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "choice": dict(self.choice),
            "figure": self.figure,
            "qualities": [value if math.isfinite(value) else None for value in self.qualities],
            "rounds": self.rounds,
            "bytes_per_peer": self.bytes_per_peer,
            "seconds": self.seconds,
            "mebibytes": self.mebibytes,
            "failures": self.failures,
        }


def lower_is_better(figure: str) -> bool:
    """Whether a figure is a loss or an error."""
    return any(word in figure.lower() for word in ("loss", "error"))


def recommended(outcomes: Sequence[Outcome], within: float) -> Outcome | None:
    """Of the choices that are as good as the best one, up to ``within``, the one that sends least; None if none ended.

    A choice under which nothing was merged says nothing about a swarm, and is not recommended.

    Args:
        outcomes: in the order in which the choices were given; the first of equal ones wins.
        within: the difference of the figure that does not count.
    """
    good = [(outcome.quality, outcome) for outcome in outcomes if outcome.quality is not None and outcome.rounds]
    if not good:
        return None
    sign = -1.0 if lower_is_better(good[0][1].figure) else 1.0
    best = max(sign * quality for quality, _ in good)
    near = [outcome for quality, outcome in good if sign * quality >= best - within]
    return min(near, key=lambda outcome: outcome.bytes_per_peer)


def quality(metrics: Mapping[str, float], log: Path, metric: str | None) -> tuple[str, float] | None:
    """The figure that says how good the model of a peer is, with its name; None if there is none.

    The first of: the ``metric`` asked for, the accuracy of a task, a metric of the validation, the validation loss,
    and a printed ``accuracy`` or ``loss``. What is no metric of the callback is looked for in the last lines that the
    script printed, as in ``accuracy 0.93``.

    Args:
        metrics: of the callback.
        log: with what the script printed; it need not exist.
        metric: the name of the figure.
    """
    validated = sorted(name for name in metrics if name.startswith(VALIDATION))
    validated.sort(key=lambda name: name == f"{VALIDATION}loss")
    own = [name for name in PRINTED if name in metrics]
    names = [metric] if metric else [*own, *validated, *PRINTED]
    lines: list[str] | None = None
    for name in names:
        for known in (name, VALIDATION + name, f"swarm_{name}"):
            if known in metrics:
                return name.removeprefix(VALIDATION), metrics[known]
        if lines is None:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        pattern = re.compile(rf"(?<![\w-]){re.escape(name)}\"?[\s:=]+({_NUMBER})", re.IGNORECASE)
        for line in reversed(lines[-_LAST_LINES:]):
            if found := pattern.findall(line):
                return name, float(found[-1])
    return None


def named(outcome: Outcome) -> list[str]:
    """The failures of an outcome, each with its choice; that nothing was merged is one."""
    failures = outcome.failures if outcome.failures or outcome.rounds else [UNMERGED]
    return [f"{label(outcome.choice)}: {failure}" for failure in failures]

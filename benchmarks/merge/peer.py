"""One peer, which does what it is told: a line of JSON in, a line of JSON out.

``python -m benchmarks.merge.peer``; the first line has its plan, its rank, and where it meets the others.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from benchmarks.merge import memory
from benchmarks.merge.arrays import RandomModel
from benchmarks.merge.milestones import Milestones, NotedModel
from benchmarks.merge.plan import Plan
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.wiring import network_of

if TYPE_CHECKING:
    from benchmarks.reference.gloo import Gloo


class Peer:
    """Its model, its session, and its part in gloo's group."""

    def __init__(self, plan: Plan, rank: int, place: Mapping[str, object], store: str | None) -> None:
        """``place`` holds the settings that say where the swarm is, ``store`` where gloo's group meets, if it does."""
        self._plan = plan
        self._milestones = Milestones()
        model: RandomModel
        if plan.profile:
            model = noted = NotedModel(plan, rank)
            noted.milestones = self._milestones
        else:
            model = RandomModel(plan, rank)
        self._model = model
        self._gloo = _gloo(Path(store), rank, plan.peers) if store else None
        settings = resolve({**plan.settings_of(rank), **place}, environment={}).settings
        extra = {"milestones": self._milestones} if plan.profile else {}
        self._session = Session(
            settings,
            model,
            plugins=PluginRegistry(settings.disabled_plugins, extra),
            network=self._milestones.network if plan.profile else network_of,
        )
        self._before = 0

    def draw(self, turn: int) -> dict[str, Any]:
        """Take new values."""
        self._model.draw(turn)
        return {}

    def reduce(self) -> dict[str, Any]:
        """Let gloo add up."""
        if self._gloo is None:
            raise RuntimeError("this peer is not in a group of gloo's")
        began = time.monotonic()
        self._gloo.all_reduce(self._model.flat)
        return {"began": began, "ended": time.monotonic()}

    def begin(self) -> dict[str, Any]:
        """Join the swarm; what is resident now counts as there without it."""
        self._before = memory.resident()
        self._session.begin()
        return {}

    def merge(self) -> dict[str, Any]:
        """Come to a sync point."""
        self._milestones.clear()
        memory.forget_peak()
        began = time.monotonic()
        report = self._session.advance()
        ended = time.monotonic()
        extra = memory.peak() - self._before
        if report is None or len(report.contributors) != self._plan.peers or report.attempts != 1:
            raise RuntimeError(f"not a round of {self._plan.peers} peers at the first attempt: {report}")
        return {"began": began, "ended": ended, "extra": extra, "marks": self._milestones.marks}

    def check(self, turn: int, *, merged: bool) -> dict[str, Any]:
        """Compare the model with what a merge, or gloo's sum, of that turn must be."""
        if not merged:
            np.divide(self._model.flat, self._plan.peers, out=self._model.flat, casting="same_kind")
        weights = self._plan.weights if merged else (1,) * self._plan.peers
        return {"error": self._model.error(turn, weights), "digest": self._model.state().digest()}

    def end(self) -> dict[str, Any]:
        """Leave both."""
        self._session.abort("measured")
        if self._gloo:
            self._gloo.close()
        return {}


def main() -> None:
    """Follow the lines of standard input to their end."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    answers = _answers()
    told = json.loads(sys.stdin.readline())
    peer = Peer(Plan(**told["plan"]), told["rank"], told["place"], told["store"])
    calls: Mapping[str, Callable[..., dict[str, Any]]] = {
        name: getattr(peer, name) for name in ("draw", "reduce", "begin", "merge", "check", "end")
    }
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(calls[order.pop("do")](**order)), file=answers, flush=True)


def _gloo(store: Path, rank: int, peers: int) -> Gloo:
    """Loads torch, which a peer without a reference can do without."""
    from benchmarks.reference.gloo import Gloo

    return Gloo(store, rank, peers)


def _answers() -> TextIO:
    """Standard output, for answers alone: libraries in C that print go to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()

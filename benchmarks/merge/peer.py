"""One peer, controlled by ``rounds``: ``python -m benchmarks.merge.peer``.

Its first order has the plan, its rank, and where it finds the others. Every other order names a method of ``Peer``.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from benchmarks.harness.workers import connect
from benchmarks.merge import counters
from benchmarks.merge.cipher import Cipher
from benchmarks.merge.model import RandomModel
from benchmarks.merge.phases import Milestones, RecordedModel
from benchmarks.merge.plan import Plan
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.wiring import network_of
from swarm.tensors.state import Array, numpy_dtype


class Gloo:
    """The reference: one process of a group that sums arrays with PyTorch's gloo, in C++, unencrypted, uncommitted.

    It loads torch, which peers that are not compared with gloo do not need.
    """

    def __init__(self, store: str, rank: int, size: int, interface: str) -> None:
        """Join the group on a network interface; its processes find each other through the file ``store``."""
        import torch

        torch.set_num_threads(1)
        os.environ["GLOO_SOCKET_IFNAME"] = interface
        self._torch, self._group = torch, torch.distributed
        self._group.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=timedelta(seconds=120)
        )

    def all_reduce(self, array: Array) -> None:
        """Replace ``array`` by the sum of the arrays of all processes."""
        tensor: Any
        if array.dtype == numpy_dtype("bfloat16"):
            tensor = self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        else:
            tensor = self._torch.from_numpy(array)
        self._group.all_reduce(tensor)

    def close(self) -> None:
        """Leave the group."""
        self._group.destroy_process_group()


class Peer:
    """Its model, its session, and its membership of gloo's group."""

    def __init__(
        self, plan: Plan, rank: int, place: Mapping[str, object], store: str | None, interface: str = "lo"
    ) -> None:
        """Join nothing but gloo's group yet.

        Args:
            plan: what is merged.
            rank: of this peer.
            place: the settings of where the swarm is.
            store: the file of gloo's group, if there is one.
            interface: over which gloo's processes reach each other.
        """
        self._plan = plan
        self._milestones = Milestones()
        self._model = RecordedModel(plan, rank, self._milestones) if plan.profile else RandomModel(plan, rank)
        self._gloo = Gloo(store, rank, plan.peers, interface) if store else None
        settings = resolve({**plan.settings_of(rank), **place}, environment={}).settings
        extra = {"milestones": self._milestones} if plan.profile else {}
        self._session = Session(
            settings,
            self._model,
            plugins=PluginRegistry(settings.disabled_plugins, extra),
            network=self._milestones.network if plan.profile else network_of,
        )
        self._before = 0
        self._cipher: Cipher | None = None

    def draw(self, turn: int) -> None:
        """Fill the model with the values of this turn."""
        self._model.draw(turn)

    def reduce(self) -> dict[str, float]:
        """Let gloo sum the models."""
        if self._gloo is None:
            raise RuntimeError("this peer is not in a group of gloo")
        began = time.monotonic()
        self._gloo.all_reduce(self._model.flat)
        return {"began": began, "ended": time.monotonic()}

    def begin(self) -> None:
        """Join the swarm; memory that is resident before this does not count as Swarm's."""
        self._before = counters.resident()
        self._session.begin()

    def merge(self) -> dict[str, Any]:
        """Reach a sync point, and wait for the round."""
        self._milestones.clear()
        counters.reset_peak()
        began = time.monotonic()
        report = self._session.advance()
        ended = time.monotonic()
        extra = counters.peak() - self._before
        if report is None or len(report.contributors) != self._plan.peers or report.attempts != 1:
            raise RuntimeError(f"not a round of {self._plan.peers} peers at the first attempt: {report}")
        return {"began": began, "ended": ended, "extra": extra, "times": self._milestones.times}

    def check(self, turn: int, *, merged: bool) -> dict[str, Any]:
        """Compare the model with the weighted mean of that turn or, if not ``merged``, with gloo's sum."""
        if not merged:
            np.divide(self._model.flat, self._plan.peers, out=self._model.flat, casting="same_kind")
        weights = self._plan.weights if merged else (1,) * self._plan.peers
        return {"error": self._model.error(turn, weights), "digest": self._model.state().digest()}

    def encrypt(self, size: int) -> dict[str, float]:
        """Let the cipher of TLS alone encrypt and decrypt ``size`` bytes."""
        if self._cipher is None:
            self._cipher = Cipher()
        began = time.monotonic()
        self._cipher.run(size)
        return {"began": began, "ended": time.monotonic()}

    def end(self) -> None:
        """Leave the swarm and gloo's group."""
        self._session.abort("measured")
        if self._gloo:
            self._gloo.close()


def main() -> None:
    """Answer all orders."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    orders, answer = connect()
    first = next(orders)
    peer = Peer(Plan(**first.pop("plan")), **first)
    answer(None)
    for order in orders:
        answer(getattr(peer, order.pop("do"))(**order))


if __name__ == "__main__":
    main()

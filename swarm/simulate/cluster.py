"""Runs hosts on a Ray cluster: an actor for each swarm, several at once.

All peers of one swarm stay on one node, as with ``local``. So no port has to be open between nodes, and the result does
not depend on how the cluster places actors.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from swarm.errors import MissingExtraError
from swarm.simulate import local
from swarm.simulate.outcome import Run
from swarm.simulate.plan import PeerEnd, Plan

_OF_RAY = "RAY_"


class Host:
    """An actor that trains with all peers of a plan."""

    def __init__(self, timeout: float, metric: str | None, environment: Mapping[str, str]) -> None:
        """The arguments are those of ``local.run``."""
        self._timeout = timeout
        self._metric = metric
        self._environment = environment

    def run(self, plan: str) -> dict[str, Any]:
        """Train, and return the run; both in a form that needs no class of Swarm at the other side."""
        found = local.run(
            Plan.read(plan), timeout=self._timeout, metric=self._metric, environment=dict(self._environment)
        )
        return asdict(found)


def require() -> None:
    """Refuse what needs Ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    if not find_spec("ray"):
        raise MissingExtraError("--ray needs ray: pip install 'swarm-learning[simulation]'")


def run_all(plans: Sequence[Plan], *, timeout: float, metric: str | None) -> Iterator[tuple[int, Run]]:
    """Train under each plan, as many at once as the cluster has processors, and give each run as it ends.

    Where no cluster is running or named by ``RAY_ADDRESS``, one is started on this machine, and ended at the end.

    Args:
        plans: what to train.
        timeout: as for ``local.run``.
        metric: as for ``local.run``.

    Yields:
        The number of a plan, and its run.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    require()
    ray = import_module("ray")
    ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    with contextlib.ExitStack() as stack:
        for plan in plans:
            stack.callback(local.clear, plan)  # Ray may kill an actor with all processes that would do it
        stack.callback(ray.shutdown)
        stack.enter_context(local.ended_by_signals())  # in place of Ray's own handlers, which abort the process
        actor = ray.remote(num_cpus=1)(Host)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_RAY)}
        hosts = [actor.remote(timeout, metric, environment) for _ in plans]
        waiting = {
            host.run.remote(plan.text()): number for number, (host, plan) in enumerate(zip(hosts, plans, strict=True))
        }
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            number = waiting.pop(done)
            try:
                run = _read(ray.get(done))
            except ray.exceptions.RayError as error:
                text = str(error).strip().splitlines()
                run = Run(ends=(), qualities={}, seconds=0.0, mebibytes=None, problem=f"its actor failed: {text[-1]}")
            hosts[number] = None  # which ends the actor and frees its processor
            yield number, run


def _read(found: Mapping[str, Any]) -> Run:
    ends = [PeerEnd(**end) for end in found["ends"]]
    return Run(**{**found, "ends": ends})

"""The peers of a built-in task: threads of one process, whose sessions meet in memory.

They run the product's own callback and sessions, and no network. So 64 peers need the memory of one process.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from swarm.config.trial import try_out
from swarm.pytorch import TorchCallback
from swarm.session.wiring import Network
from swarm.simulate.failures import of_error
from swarm.simulate.plan import AFTER_A_FAILURE, CALM, PeerEnd, Plan
from swarm.simulate.recorder import Recorder
from swarm.simulate.tasks import Sites, Trainee, load
from swarm.testing.swarm import Board
from swarm.transport.memory import MemoryNetwork, MemoryTransport

if TYPE_CHECKING:
    from swarm.callback.sessions import SessionFactory
    from swarm.config import Settings
    from swarm.plugins import PluginRegistry
    from swarm.session.session import NetworkFactory


def run(plan: Plan, finished: Callable[[int], None], ended: Callable[[PeerEnd], None]) -> None:
    """Train with all peers, until all have ended or one has failed.

    Args:
        plan: of a task.
        finished: called with the number of each round that the first peer has loaded.
        ended: called for each peer, from this thread.

    Raises:
        ConfigurationError: the data do not suffice for so many peers.
    """
    torch.set_num_threads(1)
    sites = load(plan.program, plan.partition, plan.peers, plan.seed)
    # No network is used: these keep out what is set up for the process of one site.
    place = {"listen": "127.0.0.1:0", "peers": (), "members": (), "world_size": plan.peers, "loopback": False}
    try_out({**CALM, **plan.choice, **place, "insecure": True, "resume": False})
    meeting = in_memory()
    ends: queue.SimpleQueue[PeerEnd] = queue.SimpleQueue()
    for rank in range(plan.peers):
        program = partial(_peer, plan, sites, rank, meeting, finished if rank == 0 else _nothing, ends)
        threading.Thread(target=program, name=f"peer-{rank}", daemon=True).start()
    left, until = plan.peers, float("inf")
    while left and (wait := until - time.monotonic()) > 0:
        try:
            end = ends.get(timeout=None if wait == float("inf") else wait)
        except queue.Empty:
            return
        ended(end)
        left -= 1
        if end.failure:
            until = min(until, time.monotonic() + AFTER_A_FAILURE)


def in_memory() -> NetworkFactory:
    """Connects the sessions of one process: all that get this meet in a network in memory of their own."""
    network, addresses = MemoryNetwork(), dict[str, str]()

    def meeting(settings: Settings, _plugins: PluginRegistry) -> Network:
        return Network(MemoryTransport(network), [Board(addresses, settings.model_name)])

    return meeting


def callback_class(factory: SessionFactory) -> type[TorchCallback]:
    """The callback for raw PyTorch, with sessions of this factory."""
    return type("Simulated", (TorchCallback,), {"session_factory": staticmethod(factory)})


def _peer(
    plan: Plan,
    sites: Sites,
    rank: int,
    meeting: NetworkFactory,
    finished: Callable[[int], None],
    ends: queue.SimpleQueue[PeerEnd],
) -> None:
    recorder = Recorder(finished)
    try:
        logger = logging.Logger("swarm", logging.CRITICAL)  # noqa: LOG001 - each peer's own, which prints nothing
        samples, validation = sites.train[rank], sites.validation[rank]
        trainee = Trainee(samples, int(sites.test.y.max()) + 1, plan.seed, rank)
        callback = callback_class(recorder.factory(meeting))(
            model=trainee.model,
            optimizer=trainee.optimizer,
            loss_function=nn.CrossEntropyLoss(),
            val_data=(validation.x, validation.y),
            val_batch_size=len(validation),
            samples=len(samples),
            name=f"peer-{rank}",
            rank=rank,
            model_dir=plan.peer_directory(rank),
            logger=logger,
        )
        callback.on_train_begin()
        for epoch in callback.epochs(1):
            for loss in trainee.train(plan.steps if epoch == 0 else 1):
                callback.on_batch_end(loss=loss)
        callback.on_train_end()
        metrics = {**callback.metrics, "accuracy": trainee.accuracy(sites.test)}
        ends.put(PeerEnd(rank=rank, metrics=metrics))
    except BaseException as error:  # noqa: BLE001 - told as the end of this peer
        ends.put(PeerEnd(rank=rank, metrics=recorder.metrics(), failure=of_error(error)))


def _nothing(_round: int) -> None:
    pass

"""Ctrl-C while a peer waits: for others to start with, and for a round, after which training may go on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from swarm.config import resolve
from swarm.discovery.base import Discovery
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.swarm import ArrayModel, MemorySwarm, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from tests.session.ctrl_c import CtrlC


class Interrupted(Discovery):
    """Finds nobody; somebody presses Ctrl-C as soon as the peer looks for others."""

    announced = pressed = False

    def announce(self, name: str, address: str, incarnation: str) -> None:
        self.announced = True

    def discover(self) -> tuple[str, ...]:
        if not self.pressed:
            self.pressed = True
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return ()

    def withdraw(self) -> None:
        self.announced = False


def test_a_peer_interrupted_while_it_waits_for_others_to_start_leaves() -> None:
    place, network, before = Interrupted(), MemoryNetwork(), {*threading.enumerate()}
    settings = resolve(
        {"listen": "127.0.0.1:0", "min_peers": 2}, environment={}, directory=Path("no swarm.toml here")
    ).settings
    session = Session(
        settings,
        ArrayModel({"w": np.zeros(1)}),
        network=lambda *_: Network(MemoryTransport(network), [place]),
    )
    with pytest.raises(KeyboardInterrupt):
        session.begin()
    assert place.pressed
    assert not place.announced
    assert session.over
    for thread in {*threading.enumerate()} - before:
        thread.join(5.0)
    assert {*threading.enumerate()} <= before


def test_an_interrupted_offer_is_merged_while_training_continues() -> None:
    swarm, ctrl_c = MemorySwarm(sync_interval=1, world_size=2), CtrlC()
    ada = swarm.peer("ada", {"w": np.zeros(4, np.float32)}, platform=ctrl_c.platform)
    bob = swarm.peer("bob", {"w": np.zeros(4, np.float32)})
    trained_on, merged = threading.Event(), threading.Event()

    def run_ada() -> None:
        ada.session.begin()
        ada.arrays["w"] += 2.0
        ctrl_c.press(lambda: ada.merging)
        with pytest.raises(KeyboardInterrupt):
            ada.advance()
        ada.arrays["w"] += 100.0
        trained_on.set()
        merged.wait()
        # The missed answer comes first, under the 100 that were trained since: 103, and bob serves his 3.
        ada.session.advance()
        assert ada.arrays["w"].tolist() == [53.0] * 4
        ada.session.end()

    def run_bob() -> None:
        bob.session.begin()
        trained_on.wait()
        bob.arrays["w"] += 4.0
        bob.advance()
        assert bob.arrays["w"].tolist() == [3.0] * 4
        merged.set()
        bob.session.end()

    together(run_ada, run_bob)
    assert bob.reports[0].contributors == ("ada", "bob")
    assert not [line for line in ada.lines + bob.lines if "ignore" in line]

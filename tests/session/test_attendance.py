"""Which sites took part in which rounds: in the lines of rounds, at the end, and under ``require_members``."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm import hookimpl
from swarm.errors import ConfigurationError, IncompleteSwarmError, StartTimeoutError
from swarm.records import Participation, SessionClosed
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

WEIGHTS = {"w": np.zeros(2)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += {"ada": 1.0, "bob": 100.0, "cyd": 3000.0}[peer.name]


class Listener:
    """A plugin that keeps what it is told of the end of sessions."""

    def __init__(self) -> None:
        self.events: list[SessionClosed] = []

    @hookimpl
    def swarm_session_closed(self, event: SessionClosed) -> None:
        self.events.append(event)


def line(peer: SwarmPeer, text: str) -> str:
    (found,) = [line for line in peer.lines if text in line]
    return found


def test_the_end_counts_the_rounds_and_the_merged_batches_of_each_site() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    listener = Listener()
    ada, bob = (swarm.peer(name, WEIGHTS, plugins={"listener": listener}) for name in ("ada", "bob"))
    together(partial(ada.train, 4, step), partial(bob.train, 10, step))
    assert [event.sites for event in listener.events] == 2 * [{"ada": Participation(4, 4), "bob": Participation(4, 10)}]
    assert {event.all_rounds for event in listener.events} == {4}
    text = "sites and how many of the 4 rounds each was in: ada 4 (4 batches merged), bob 4 (10 batches merged)"
    assert line(ada, "sites and") == line(bob, "sites and") == f"INFO {text}"


def test_rounds_say_who_is_away_since_when_and_the_slow_site_loses_no_batch() -> None:
    """Cyd needs nine times as long for its batches as the others."""
    swarm = MemorySwarm(sync_interval=1, world_size=3, straggler_timeout=0.05, require_members=True)
    listener = Listener()
    ada, bob, cyd = (swarm.peer(name, WEIGHTS, plugins={"listener": listener}) for name in ("ada", "bob", "cyd"))
    go_on, behind = threading.Event(), threading.Barrier(2)

    def quick(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(5, step)
        behind.wait(20)
        go_on.set()
        while not any("cyd" in report.group for report in peer.reports[-1:]):
            peer.go_on(1, step)
        peer.session.end()

    def slow(peer: SwarmPeer) -> None:
        peer.session.begin()
        assert go_on.wait(20)
        peer.go_on(2, step)
        peer.session.end()

    together(partial(quick, ada), partial(quick, bob), partial(slow, cyd))
    for peer in (ada, bob):
        first, *rest = (report for report in peer.reports if "cyd" not in report.group)
        assert (first.round, first.missing, first.away) == (1, ("cyd",), {"cyd": 1})
        assert rest
        assert {(report.missing, report.away["cyd"]) for report in rest} == {((), 1)}
        assert any(", without cyd since round 1," in line for line in peer.lines)
        assert not peer.reports[-1].away
    sites = listener.events[0].sites
    assert sites["cyd"].rounds < sites["ada"].rounds == listener.events[0].all_rounds
    assert sites["cyd"].steps == 2, "all of its batches"


def test_who_was_away_at_the_start_is_named() -> None:
    swarm = MemorySwarm(sync_interval=4, members="ada,bob,cyd", straggler_timeout=0.1)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    together(partial(ada.train, 4, step), partial(bob.train, 4, step))
    assert "started without cyd; who comes later joins" in line(ada, "started without")


def test_who_is_away_when_a_run_is_resumed_is_named(tmp_path: Path) -> None:
    def swarm(*names: str, **more: object) -> list[SwarmPeer]:
        settings = {"sync_interval": 1, "members": "ada,bob,cyd", "checkpoint_seconds": 0, "failure_timeout": 0.3}
        found = MemorySwarm(**settings, **more)
        return [found.peer(name, WEIGHTS, model_dir=tmp_path / name) for name in names]

    def begin(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(2, step)

    peers = swarm("ada", "bob", "cyd")
    together(*(partial(begin, peer) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")
    ada, bob = swarm("ada", "bob", resume=True, straggler_timeout=0.1)
    together(partial(ada.train, 2, step), partial(bob.train, 2, step))
    assert line(ada, "goes on without") == "WARNING goes on without cyd; who comes later joins"


def test_a_session_does_not_start_without_a_required_member() -> None:
    swarm = MemorySwarm(
        sync_interval=4, members="ada,bob,cyd", straggler_timeout=0.1, start_timeout=0.6, require_members=True
    )
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)

    def begin(peer: SwarmPeer) -> None:
        with pytest.raises(StartTimeoutError, match="cyd did not come within start_timeout=0.6 s, and require_members"):
            peer.session.begin()

    together(partial(begin, ada), partial(begin, bob))


@pytest.mark.parametrize("required", [True, False])
def test_a_session_that_ends_without_a_required_member_is_no_success(required: bool, tmp_path: Path) -> None:
    settings = {"sync_interval": 2, "world_size": 3, "straggler_timeout": 0.5, "failure_timeout": 0.5}
    swarm = MemorySwarm(**settings, require_members=required)
    ada, bob = (swarm.peer(name, WEIGHTS, model_dir=tmp_path / name) for name in ("ada", "bob"))
    cyd = swarm.peer("cyd", WEIGHTS)
    errors: list[IncompleteSwarmError] = []

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(2, step)
        if peer is cyd:
            peer.session.abort("the power is gone")
            return
        eventually(lambda: "cyd" not in peer.live, "cyd is gone")
        peer.go_on(2, step)
        try:
            peer.session.end()
        except IncompleteSwarmError as error:
            errors.append(error)

    together(*(partial(train, peer) for peer in (ada, bob, cyd)))
    assert ada.digest() == bob.digest(), "the closing model is loaded"
    assert (tmp_path / "ada" / "swarm-final.safetensors").is_file()
    assert len(errors) == 2 * required
    for error in errors:
        text = "ended without 1 of the 3 expected (no longer there: cyd), which require_members does not allow"
        assert text in str(error)
        assert "swarm-final.safetensors" in str(error)


def test_required_members_must_be_known() -> None:
    with pytest.raises(ConfigurationError, match="require_members=True needs members or world_size"):
        MemorySwarm(require_members=True).peer("ada", WEIGHTS)

"""Which sites took part in which rounds: in the lines of rounds, at the end, and under ``require_members``."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm import hookimpl
from swarm.config import Settings, resolve
from swarm.errors import ConfigurationError, IncompleteSwarmError, StartTimeoutError
from swarm.identity import Identity, identity_at
from swarm.identity.authority import Authority
from swarm.identity.consortium import Role
from swarm.identity.site import Site
from swarm.plugins import PluginRegistry
from swarm.records import Commit, Participation, SessionClosed, SyncState
from swarm.session import Session
from swarm.session.expected import Expected
from swarm.session.participation import Attendance
from swarm.session.wiring import network_of
from swarm.testing.nodes import eventually
from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, _logger, together
from swarm.transport.shared import SharedAddress

WEIGHTS = {"w": np.zeros(2)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += {"ada": 1.0, "bob": 100.0, "cyd": 3000.0}[peer.name]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as taken:
        listening = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in listening]


Consortium = tuple[Authority, Callable[[str], Site]]


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """The authority that ada has founded, and what lets a site join."""
    made = Authority.create(
        tmp_path / "authority",
        "heart",
        founder="ada",
        identity=tmp_path / "ada",
        listen="127.0.0.1:7701",
        address="127.0.0.1:7701",
        allowed={},
        valid_days=365,
    )
    Site(tmp_path / "ada").found(made, "127.0.0.1:7700")

    def join(name: str) -> Site:
        site, invitation = Site(tmp_path / name), made.invite(name, valid=timedelta(hours=1))
        site.accept(made.answer(site.enrolment(invitation, "127.0.0.1:7700")).reply)
        return site

    return made, join


def test_whom_a_consortium_expects_follows_its_document(consortium: Consortium, tmp_path: Path) -> None:
    authority, join = consortium
    identity = Identity(tmp_path / "ada")
    expected = Expected(Settings(name="ada"), identity)
    assert (list(expected), expected.number) == (["ada"], 1)
    for name in ("bob", "cyd", "eve"):
        join(name)
    identity.refresh()
    assert (list(expected), expected.others) == (["ada", "bob", "cyd", "eve"], {"bob", "cyd", "eve"})
    authority.revoke("bob")
    authority.change("eve", role=Role.OBSERVER)
    identity.refresh()
    assert list(expected) == ["ada", "cyd"]
    assert [name for name in ("ada", "bob", "cyd", "eve") if expected.admits(name)] == ["ada", "cyd"]
    assert expected - {"ada"} == {"cyd"}
    assert expected <= {"ada", "cyd"}
    given = Expected(Settings(name="ada", members=("ada", "zoe")), identity)
    assert (list(given), given.number) == (["ada", "zoe"], 2)
    counted = Expected(Settings(name="ada", world_size=5), identity)
    assert (list(counted), counted.number) == ([], 5)


def commit_of(round_: int, *group: str) -> Commit:
    return Commit(
        lineage="a", round=round_, digest="", members=group, group=group, contributors=group, sync=SyncState(1)
    )


def test_who_was_revoked_is_not_said_to_be_away(consortium: Consortium, tmp_path: Path) -> None:
    authority, join = consortium
    for name in ("bob", "cyd", "dan"):
        join(name)
    identity = Identity(tmp_path / "ada")
    attendance = Attendance(Expected(Settings(name="ada"), identity))
    attendance.add(commit_of(0, "ada", "bob"), ())
    assert attendance.away == {"cyd": 0, "dan": 0}
    attendance.add(commit_of(1, "ada", "cyd"), ())
    assert attendance.away == {"bob": 1, "dan": 0}
    for name in ("bob", "dan"):
        authority.revoke(name)
    join("fay")
    identity.refresh()
    attendance.add(commit_of(2, "ada"), ())
    assert attendance.away == {"cyd": 2, "fay": 2}


def members_of(tmp_path: Path, **settings: object) -> tuple[SwarmPeer, SwarmPeer]:
    """Ada and bob, over the network, with the newest document."""
    identity = Identity(tmp_path / "ada")
    Identity(tmp_path / "bob").adopt(identity.document_bytes)
    ports = free_ports(2)
    peers = []
    for name, own, other in (("ada", *ports), ("bob", *reversed(ports))):
        given = {"identity": tmp_path / name, "listen": f"127.0.0.1:{own}", "peers": [f"127.0.0.1:{other}"]}
        given |= {"discovery": "seeds", "sync_interval": 4, "straggler_timeout": 2.0, **settings}
        resolved = resolve(given, environment={}, directory=tmp_path / "nothing").settings
        lines: list[str] = []
        model = ArrayModel(WEIGHTS)
        session = Session(
            resolved,
            model,
            logger=_logger(name, lines),
            plugins=PluginRegistry(),
            network=partial(network_of, shared=SharedAddress()),
        )
        peers.append(SwarmPeer(name, model, session, lines))
    return peers[0], peers[1]


def test_a_member_of_the_consortium_that_does_not_come_is_named(consortium: Consortium, tmp_path: Path) -> None:
    for name in ("bob", "cyd"):
        consortium[1](name)
    peers = members_of(tmp_path)
    together(*(partial(peer.train, 8, step) for peer in peers))
    for peer in peers:
        assert "waiting for at least 2 peers; expected are ada, bob, cyd" in line(peer, "listens at")
        assert line(peer, "started without") == (
            "WARNING started without cyd; who comes later joins, and require_members=True waits for all"
        )
        assert [report.away for report in peer.reports] == 2 * [{"cyd": 0}]
        assert "2 peers, without cyd since round 0, 2 contributed" in line(peer, "round 2:")
        assert ": cyd 0 (0 batches merged), ada 3 (8 batches merged), bob 3" in line(peer, "sites and how many")


def test_require_members_waits_for_all_members_of_the_consortium(consortium: Consortium, tmp_path: Path) -> None:
    for name in ("bob", "cyd"):
        consortium[1](name)
    ada, bob = members_of(tmp_path, require_members=True, start_timeout=2.0)

    def refused(peer: SwarmPeer) -> None:
        with pytest.raises(StartTimeoutError, match="cyd did not come"):
            peer.session.begin()

    together(partial(refused, ada), partial(refused, bob))
    assert "waiting for 3 peers; expected are ada, bob, cyd" in line(ada, "listens at")


def test_require_members_needs_also_who_is_invited_while_the_training_runs(
    consortium: Consortium, tmp_path: Path
) -> None:
    consortium[1]("bob")
    ada, bob = members_of(tmp_path, require_members=True)
    joined = threading.Barrier(2, lambda: consortium[1]("cyd"))

    def run(peer: SwarmPeer) -> None:
        peer.session.begin()
        joined.wait(20)
        own = identity_at(tmp_path / peer.name)
        eventually(lambda: "cyd" in own.trainers, "the new document comes")
        peer.go_on(4, step)
        with pytest.raises(IncompleteSwarmError, match="ended without cyd, which require_members does not allow"):
            peer.session.end()

    together(partial(run, ada), partial(run, bob))
    assert [report.away for report in ada.reports] == [{"cyd": 1}]


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
    ada, bob = (swarm.peer(name, WEIGHTS) for name in ("ada", "bob"))
    cyd = swarm.peer("cyd", WEIGHTS, plugins={"listener": listener})
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
        assert all("cyd" not in report.missing and report.away["cyd"] == 1 for report in rest)
        assert any(", without cyd since round 1," in line for line in peer.lines)
        assert "cyd" not in peer.reports[-1].away, "on a busy machine another one may have missed it"
    (closed,) = listener.events
    assert closed.sites["cyd"].rounds < closed.sites["ada"].rounds <= closed.all_rounds
    assert closed.sites["cyd"].steps == 2, "all of its batches, in the rounds that cyd itself was in"


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

"""What would go wrong in a run, found before it begins."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from swarm import versions
from swarm.cli.check import command, here, parts, there
from swarm.cli.check import listening as listening_module
from swarm.cli.check.command import find
from swarm.cli.check.finding import Finding, Level
from swarm.cli.check.links import of_link
from swarm.cli.check.listening import Nobody, Station
from swarm.cli.check.listening import listening as listens
from swarm.cli.environment import machine_authority
from swarm.cli.status import fetch
from swarm.cli.statuses import ANSWER_SECONDS
from swarm.config import Settings
from swarm.discovery import Discovery
from swarm.errors import AddressError, NoDataChannelError, TransportError, UnknownCallError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities, own_identity
from swarm.plugins import PluginRegistry
from swarm.proxy import Proxies
from swarm.session import wiring
from swarm.testing.nodes import DEADLINE
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport
from swarm.transport.grpc.measuring import Speeds

SETTINGS = Settings(name="berlin", model_name="heart")
NOW = 1_800_000_000.0


def answer(**changes: Any) -> dict[str, Any]:
    """What a peer of the same session says of itself."""
    return {
        "name": "paris",
        "session": "heart",
        "status": "starting",
        "round": None,
        "release": "0.1.0",
        "protocol": versions.NEWEST,
        "oldest_protocol": versions.here().oldest,
        "settings": dict(SETTINGS.agreed()),
        "time": NOW,
        **changes,
    }


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def look(address: str, status: Mapping[str, Any], settings: Settings = SETTINGS) -> dict[str, Finding]:
    found = there.of_peer(address, settings, lambda _: status, now=lambda: NOW)
    return {each.what: each for each in found}


def test_a_peer_with_which_all_is_well(listening: str) -> None:
    found = look(listening, answer())
    assert {what: each.level for what, each in found.items()} == dict.fromkeys(
        ("reached", "version", "session", "settings", "clock"), Level.OK
    )
    assert {each.where for each in found.values()} == {listening}
    assert found["session"].found == "paris: starting, round 0"


@pytest.mark.parametrize(
    ("changes", "what", "level", "text"),
    [
        ({"session": "lungs"}, "session", Level.FAILURE, "paris trains lungs, not heart"),
        ({"protocol": 2, "oldest_protocol": 0}, "version", Level.FAILURE, "no version of the protocol in common"),
        ({"time": NOW + 61}, "clock", Level.WARNING, "61 s ahead of this machine's"),
        ({"time": NOW - 3600}, "clock", Level.WARNING, "3600 s behind this machine's"),
        (
            {"settings": {**dict(SETTINGS.agreed()), "sync_interval": "64"}},
            "settings",
            Level.WARNING,
            'sync_interval is "64" at paris and "128" here',
        ),
        ({"name": "berlin"}, "name", Level.FAILURE, "that peer is called berlin, as this one is"),
        ({"round": "many"}, "status", Level.FAILURE, "round"),
        ({"time": 10**400}, "status", Level.FAILURE, "time is a number that is too large"),
        ({"time": "now"}, "status", Level.FAILURE, "time is 'now'"),
        ({"time": float("nan")}, "clock", Level.WARNING, "it gives a time that no clock can show"),
        ({"time": float("inf")}, "clock", Level.WARNING, "it gives a time that no clock can show"),
        ({"oldest_protocol": 10**400}, "status", Level.FAILURE, "oldest_protocol is a number that is too large"),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_do(
    listening: str, changes: dict[str, Any], what: str, level: Level, text: str
) -> None:
    found = look(listening, answer(**changes))[what]
    assert found.level is level
    assert text in found.found
    assert found.action


@pytest.mark.parametrize(
    ("here", "level"), [(True, Level.OK), (2, Level.OK), (3, Level.WARNING), (False, Level.WARNING)]
)
def test_of_shards_the_number_is_compared(listening: str, here, level: Level) -> None:
    told = {**dict(SETTINGS.agreed()), "exchange_shards": "2 shards, layout 0123456789abcdef"}
    found = look(listening, answer(settings=told), replace(SETTINGS, exchange_shards=here))
    assert found["settings"].level is level


def test_a_peer_of_an_earlier_build_tells_no_clock_and_no_settings(listening: str) -> None:
    status = answer()
    del status["time"], status["settings"]
    assert look(listening, status).keys() == {"reached", "version", "session"}


def test_a_peer_that_does_not_answer_as_one_is_told_with_the_reason(listening: str) -> None:
    def ask(_: str) -> Mapping[str, Any]:
        raise TransportError("its certificate is not of this consortium")

    (found,) = there.of_peer(listening, SETTINGS, ask)
    assert (found.level, found.found) == (Level.FAILURE, "its certificate is not of this consortium")


@pytest.mark.parametrize(
    ("address", "text"), [("127.0.0.1:1", "nobody listens there"), ("no-such.invalid:7000", "is not known")]
)
def test_a_peer_that_cannot_be_reached_is_not_asked(address: str, text: str) -> None:
    (found,) = there.of_peer(address, SETTINGS, lambda _: pytest.fail("it was asked"))
    assert (found.what, found.level) == ("reached", Level.FAILURE)
    assert text in found.found


def test_a_peer_that_needs_a_proxy_of_an_unknown_kind_is_a_failure_and_others_are_not(
    listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "socks5h://ada:secret@127.0.0.1:1080")
    (found,) = there.of_peer("far.example:7700", SETTINGS, lambda _: pytest.fail("it was asked"))
    assert (found.what, found.level) == ("reached", Level.FAILURE)
    assert "https_proxy" in found.found
    assert "secret" not in found.found
    assert look(listening, answer())["reached"].level is Level.OK


class Way:
    """Stands for the station of this machine; what each question gives, or raises, can be set."""

    open = has_data_port = identified = True

    def __init__(self, **answers: Any) -> None:
        self._answers = {
            "reached_from": "",
            "reach_data_port": None,
            "data_port_reached_from": "",
            "measure": Speeds(94.2, 88.4),
            "certificate": None,
            "over_relay": False,
            "turn_to_relay": False,
        } | answers

    def __getattr__(self, name: str) -> Any:
        def ask(*_: str) -> Any:
            if isinstance(self._answers[name], Exception):
                raise self._answers[name]
            return self._answers[name]

        return ask


def link(way: Way) -> dict[str, Finding]:
    return {each.what: each for each in of_link("paris@10.0.0.1:7000", "paris", cast("Station", way))}


def test_a_link_on_which_all_is_well() -> None:
    found = link(Way())
    assert {what: (each.level, each.found) for what, each in found.items()} == {
        "connects here": (Level.OK, "yes"),
        "data port": (Level.OK, "reached"),
        "data port here": (Level.OK, "yes"),
        "bandwidth": (
            Level.OK,
            "sends 94 Mbit/s, receives 88 Mbit/s; a merge of 100 MiB with this peer alone takes about 9.5 s",
        ),
    }


@pytest.mark.parametrize(
    ("answers", "what", "text"),
    [
        ({"reached_from": "packets are dropped"}, "connects here", "no: packets are dropped"),
        ({"reached_from": TransportError("broken")}, "connects here", "it was not told whether it can connect: broken"),
        (
            {"reach_data_port": NoDataChannelError("timed out")},
            "data port",
            "weights will travel over the connection for messages: timed out",
        ),
        ({"data_port_reached_from": "timed out"}, "data port here", "no: timed out"),
        ({"measure": TransportError("it measures with others")}, "bandwidth", "not measured: it measures with others"),
        ({"measure": Speeds(1.5, 50.0)}, "bandwidth", "sends 1.5 Mbit/s, receives 50 Mbit/s"),
    ],
)
def test_what_is_wrong_with_a_link_is_a_warning_with_what_to_do(answers: dict[str, Any], what: str, text: str) -> None:
    found = link(Way(**answers))[what]
    assert found.level is Level.WARNING
    assert text in found.found
    assert found.action


def test_a_link_is_not_measured_without_an_identity_or_once_the_time_is_over() -> None:
    assert link(Way(measure=None))["bandwidth"].found == "not measured: the other peers took a minute"
    way = Way(measure=AssertionError("it was measured"))
    way.identified = False
    assert link(way)["bandwidth"].found == "not measured: that needs an identity"


def test_where_nobody_can_connect_here_anyway_nobody_is_asked_to() -> None:
    way = Way()
    way.open = False
    assert link(way).keys() == {"data port", "bandwidth"}
    way.has_data_port = False
    assert link(way).keys() == {"bandwidth"}


def test_over_a_relay_only_the_bandwidth_is_looked_at() -> None:
    assert link(Way(over_relay=True)).keys() == {"bandwidth"}


def test_a_peer_that_cannot_be_connected_to_is_asked_over_a_relay() -> None:
    way = cast("Station", Way(turn_to_relay=True, over_relay=True, status=answer()))
    found = {each.what: each for each in there.of_peer("127.0.0.1:1", SETTINGS, answer, way, now=lambda: NOW)}
    assert found["reached"].level is Level.OK
    assert found["reached"].found.endswith(", over a relay; directly: nobody listens there")
    assert found["session"].level is found["bandwidth"].level is Level.OK
    refused = cast("Station", Way(turn_to_relay=True, status=TransportError("nobody listens on the hub")))
    (found["reached"],) = there.of_peer("127.0.0.1:1", SETTINGS, answer, refused)
    assert (found["reached"].level, found["reached"].found) == (Level.FAILURE, "nobody listens on the hub")


def test_a_transport_that_cannot_start_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: object) -> None:
        raise AddressError("the hub at tls://hub.example.org cannot be used")

    monkeypatch.setattr(command, "listening", cannot)
    found = {(each.where, each.what): each for each in find(replace(SETTINGS, peers=("127.0.0.1:1",)))}
    assert found["here", "transport"].level is Level.FAILURE
    assert "hub.example.org" in found["here", "transport"].found
    assert ("127.0.0.1:1", "reached") in found


class Plugin:
    """The transport of a plugin, of which nothing is known but that it can start and be closed."""

    def __init__(self, start: Callable[[], None] = lambda: None) -> None:
        self._start, self.closed = start, threading.Event()

    def start(self, _: object) -> str:
        self._start()
        return "somewhere"

    def close(self, _: float) -> None:
        self.closed.set()


def with_transport(plugin: Plugin, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Finding:
    monkeypatch.setattr(wiring, "transport_of", lambda *_: plugin)
    found = {each.what: each for each in find(replace(SETTINGS, transport="pigeon", **settings))}
    return found["transport"]


def test_the_transport_of_a_plugin_is_started_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin()
    assert with_transport(plugin, monkeypatch).level is Level.OK
    assert plugin.closed.is_set()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
def test_the_transport_of_a_plugin_that_cannot_start_is_a_failure(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    def cannot() -> None:
        raise AddressError("the hub cannot be used")

    found = with_transport(Plugin(cannot), monkeypatch, listen=listen, insecure=True)
    assert (found.level, found.found) == (Level.FAILURE, "the hub cannot be used")


def test_a_transport_that_takes_too_long_is_a_failure_and_closed_once_it_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = threading.Event()
    plugin = Plugin(lambda: assert_true(go.wait(DEADLINE)))
    monkeypatch.setattr(listening_module, "MORE_SECONDS", 0.0)
    found = with_transport(plugin, monkeypatch, failure_timeout=0.1)
    assert found.level is Level.FAILURE
    assert "the transport 'pigeon' has not started within 0.1 s" in found.found
    assert not plugin.closed.is_set()
    go.set()
    assert plugin.closed.wait(DEADLINE)


def assert_true(value: bool) -> None:
    assert value


class Board(Discovery):
    """A discovery of a plugin that can be asked."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check, self.withdrawn = check, threading.Event()

    def check(self) -> None:
        self._check()

    def announce(self, name: str, address: str, incarnation: str) -> None:
        pytest.fail("it was announced")

    def discover(self) -> tuple[str, ...]:
        return ()

    def withdraw(self) -> None:
        self.withdrawn.set()


def with_discovery(board: Board, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Finding:
    monkeypatch.setattr(PluginRegistry, "discovery", lambda *_: lambda _: board)
    return parts.of_discovery("board", replace(SETTINGS, **settings))


def test_a_discovery_is_asked_and_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    assert with_discovery(board, monkeypatch).level is Level.OK
    assert board.withdrawn.is_set()


def test_a_discovery_that_cannot_be_used_or_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> None:
        raise AddressError("the hub cannot be used")

    board = Board(cannot)
    found = with_discovery(board, monkeypatch)
    assert (found.level, found.found) == (Level.FAILURE, "the hub cannot be used")
    assert board.withdrawn.is_set()
    go = threading.Event()
    board = Board(lambda: assert_true(go.wait(DEADLINE)))
    monkeypatch.setattr(parts, "MORE_SECONDS", 0.0)
    found = with_discovery(board, monkeypatch, failure_timeout=0.1)
    assert found.level is Level.FAILURE
    assert "within 0.1 s" in found.found
    go.set()
    assert board.withdrawn.wait(DEADLINE)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"rendezvous": Path("/proc/nothere")}, "'/proc/nothere' cannot be written to"),
        ({"discovery": "no-such"}, "no-such"),
        ({"discovery": "directory"}, "rendezvous"),
    ],
)
def test_a_discovery_with_which_no_run_would_start_is_a_failure(given: dict[str, Any], text: str) -> None:
    found = {each.what: each for each in find(replace(SETTINGS, **given))}["discovery"]
    assert found.level is Level.FAILURE
    assert text in found.found
    assert found.action


def test_a_rendezvous_directory_is_left_as_it_was(tmp_path: Path) -> None:
    found = {each.what: each for each in find(replace(SETTINGS, rendezvous=tmp_path))}["discovery"]
    assert (found.level, found.found) == (Level.OK, "directory")
    assert not list(tmp_path.iterdir())


def test_an_earlier_release_that_knows_no_such_question_is_told_in_one_line() -> None:
    unknown = UnknownCallError("no such method")
    found = link(Way(data_port_reached_from=unknown, measure=unknown))
    assert found.keys() == {"connects here", "data port", "link"}
    assert found["link"].level is Level.WARNING
    assert "the release of that peer does not know how" in found["link"].found


@pytest.fixture
def paris(tmp_path: Path) -> Iterator[str]:
    """The address of a peer with a data port."""
    make_identities({name: tmp_path / name for name in ("berlin", "paris")})
    control = GrpcTransport("127.0.0.1:0", identity=Identity(tmp_path / "paris"))
    transport = DataChannelTransport(control, "127.0.0.1")
    yield transport.start(Nobody())
    transport.close(0.0)


def test_two_peers_ask_one_another_over_tls_about_the_way_between_them(paris: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, listen="0.0.0.0:0", advertise="127.0.0.1", identity=tmp_path / "berlin")
    with listens(settings) as station:
        assert station is not None
        found = {each.what: each for each in of_link(paris, "paris", station)}
    assert {each.level for each in found.values()} == {Level.OK}
    assert found.keys() == {"connects here", "data port", "data port here", "bandwidth"}
    with listens(replace(settings, advertise="127.0.0.1:1")) as station:
        assert station is not None
        assert "127.0.0.1:1" in station.reached_from(paris)


def certificate_of(address: str, station: Any, days: float) -> Finding:
    """What is told of a peer's certificate so long after now."""
    now = datetime.now(UTC) + timedelta(days=days)
    found = there.of_peer(address, SETTINGS, lambda _: answer(), station, now=now.timestamp)
    return next(each for each in found if each.what == "certificate")


def test_the_certificate_of_a_peer_is_seen_and_its_end_told(paris: str, tmp_path: Path) -> None:
    shown = Identity(tmp_path / "paris").certificate
    left = shown.not_after - datetime.now(UTC)
    with listens(replace(SETTINGS, identity=tmp_path / "berlin")) as station:
        fine = certificate_of(paris, station, 0.5)
        assert (fine.level, fine.where) == (Level.OK, paris)
        assert fine.found == f"paris, until {shown.not_after:%Y-%m-%d} ({(left - timedelta(days=0.5)).days} days left)"
        still = certificate_of(paris, station, left.total_seconds() / 86400 - 14.01)
        soon = certificate_of(paris, station, left.total_seconds() / 86400 - 13.99)
    assert (still.level, soon.level) == (Level.OK, Level.WARNING)
    assert "(13 days left)" in soon.found
    assert "swarm renew" in soon.action


def test_a_certificate_that_a_peer_does_not_show_is_a_warning_and_without_tls_there_is_none(listening: str) -> None:
    refused = cast("Station", Way(certificate=TransportError("it was closed")))
    found = certificate_of(listening, refused, 0)
    assert (found.level, found.found) == (Level.WARNING, "not seen: it was closed")
    assert "certificate" not in {each.what for each in there.of_peer(listening, SETTINGS, lambda _: answer(), None)}


def test_without_an_identity_no_certificate_is_asked_for(paris: str) -> None:
    with listens(SETTINGS) as station:
        assert station is not None
        assert station.certificate(paris) is None


def test_looks_at_a_peer_of_this_user_share_one_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    authority = machine_authority(os.environ)
    transport = GrpcTransport("127.0.0.1:0", identity=Identity(own_identity(authority, "paris", exact=True)))
    address = transport.start(Nobody())
    try:
        with ThreadPoolExecutor(4) as pool:
            looks = pool.map(lambda _: fetch(address, ANSWER_SECONDS, None, Proxies()), range(4))
            assert [*looks] == [{}] * 4
    finally:
        transport.close(0.0)
    assert sorted(each.name for each in authority.iterdir() if each.is_dir()) == ["paris", "status"]


def test_where_a_peer_runs_here_already_the_others_are_reached_from_another_port(paris: str, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        listen = f"0.0.0.0:{taken.getsockname()[1]}"
        settings = replace(SETTINGS, listen=listen, advertise="127.0.0.1", identity=tmp_path / "berlin")
        with listens(settings) as station:
            assert station is not None
            found = {each.what: each.level for each in of_link(paris, "paris", station)}
    assert found == {"data port": Level.OK, "bandwidth": Level.OK}


@pytest.mark.parametrize(
    ("days", "text", "action"),
    [
        (400, "has expired on", "`swarm invite berlin --again`, then `swarm join`"),
        (-2, "and the clock of this machine says", "set the clock"),
    ],
)
def test_a_certificate_that_does_not_count_is_a_failure_and_the_rest_is_looked_at(
    listening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, text: str, action: str
) -> None:
    make_identities({"berlin": tmp_path / "berlin"})
    elsewhen = Identity(tmp_path / "berlin", now=lambda: datetime.now(UTC) + timedelta(days=days), usable=False)
    monkeypatch.setattr(command, "identity_at", lambda _, usable: elsewhen)
    settings = replace(SETTINGS, identity=tmp_path / "berlin", peers=(listening, "127.0.0.1:1"))
    found = {(each.where, each.what): each for each in find(settings)}
    certificate = found["here", "certificate"]
    assert certificate.level is Level.FAILURE
    assert text in certificate.found
    assert action in certificate.action
    assert found["here", "listen"].level is Level.OK
    assert found[listening, "reached"].level is Level.OK
    assert found[listening, "status"].level is Level.WARNING
    assert found["127.0.0.1:1", "reached"].level is Level.FAILURE


@pytest.mark.parametrize("made", [None, b"", b"-----BEGIN CERTIFICATE-----"])
def test_an_identity_that_is_missing_or_damaged_is_a_failure_and_the_rest_is_looked_at(
    swarm, listening: str, tmp_path: Path, made: bytes | None
) -> None:
    directory = tmp_path / "berlin"
    if made is not None:
        make_identities({"berlin": directory})
        (directory / "authority.pem").write_bytes(made)
    arguments = ("--identity", str(directory), "--peer", listening, "--peer", "127.0.0.1:1", "--listen", "0.0.0.0:0")
    done = swarm("check", "--json", *arguments)
    assert done.returncode == 1, done.stderr
    found = {(each["where"], each["what"]): each for each in json.loads(done.stdout)}
    assert found["here", "certificate"]["level"] == "failure"
    assert str(directory) in found["here", "certificate"]["found"]
    assert "swarm join" in found["here", "certificate"]["action"]
    assert found["here", "listen"]["level"] == "warning"
    assert found[listening, "reached"]["level"] == "ok"
    assert found[listening, "status"]["level"] == "warning"
    assert found["127.0.0.1:1", "reached"]["level"] == "failure"
    shown = swarm("check", *arguments)
    assert shown.returncode == 1
    assert shown.stdout.splitlines()[-1].startswith("looked at this machine and 2 other peers: 2 failures, ")


def of_machine(settings: Settings, identity: Identity | None = None) -> dict[str, Finding]:
    return {each.what: each for each in here.of_machine(settings, identity)}


@pytest.fixture(autouse=True)
def without_asking_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "SEES", "pass")
    monkeypatch.setattr(here, "DRIVER", Path("no driver here"))


def test_a_machine_on_which_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LEAST_DISK", "LEAST_SHARED", "LEAST_FILES"):
        monkeypatch.setattr(here, limit, 0)
    found = of_machine(replace(SETTINGS, model_dir=tmp_path, data_dir=tmp_path))
    assert {each.level for each in found.values()} == {Level.OK}
    assert {"certificate", "listen", "data_port", "model_dir", "data_dir", "open files", "GPU"} <= found.keys()
    assert not [*tmp_path.iterdir()]


def test_a_directory_that_cannot_be_written_or_read_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = of_machine(replace(SETTINGS, model_dir=tmp_path / "file" / "out", data_dir=tmp_path / "data"))
    assert found["model_dir"].level is found["data_dir"].level is Level.FAILURE
    assert of_machine(SETTINGS)["model_dir"].level is Level.WARNING


def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "LEAST_DISK", 1 << 62)
    monkeypatch.setattr(here, "LEAST_SHARED", 1 << 62)
    found = of_machine(replace(SETTINGS, model_dir=tmp_path))
    assert found["model_dir"].level is found["/dev/shm"].level is Level.WARNING


def test_a_port_that_is_taken_is_a_failure(listening: str) -> None:
    found = of_machine(replace(SETTINGS, listen=listening))["listen"]
    assert found.level is Level.FAILURE
    assert "cannot be listened on" in found.found
    assert "end the process that has the port" in found.action


@pytest.mark.parametrize("host", ["no-such.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_a_failure(host: str) -> None:
    found = of_machine(replace(SETTINGS, listen=f"{host}:7000"))["listen"]
    assert (found.level, found.action) == (Level.FAILURE, "name this machine, or an address of it")


def test_a_random_port_between_machines_is_a_warning() -> None:
    found = of_machine(replace(SETTINGS, listen="0.0.0.0:0", insecure=True))
    assert found["listen"].level is found["data_port"].level is found["certificate"].level is Level.WARNING


def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path) -> None:
    make_identities({"berlin": tmp_path / "berlin"})
    identity = Identity(tmp_path / "berlin")
    assert of_machine(SETTINGS, identity)["certificate"].level is Level.OK
    late = Identity(tmp_path / "berlin", now=lambda: datetime.now(UTC) + timedelta(days=360))
    found = of_machine(SETTINGS, late)["certificate"]
    assert (found.level, found.action) == (Level.WARNING, "it expires soon: renew it with `swarm renew`")


def test_an_authority_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    make_identities({"berlin": tmp_path / "berlin"})
    late = Identity(tmp_path / "berlin", now=lambda: datetime.now(UTC) + timedelta(days=360))
    found = of_machine(SETTINGS, late)["authority"]
    assert (found.level, found.found.partition(" ends ")[0]) == (Level.WARNING, "authority peers of one machine")
    assert found.action.startswith("found another consortium, which all join (`swarm init`; `swarm identities`")


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    found = of_machine(SETTINGS)["open files"]
    assert (found.level, found.action) == (Level.WARNING, "raise the limit: `ulimit -n 4096`")


@pytest.mark.parametrize(
    ("sees", "driver", "level", "text"),
    [
        ("print('H200'); print('H200')", True, Level.OK, "H200, H200"),
        ("pass", True, Level.FAILURE, "there is a driver, and torch sees no GPU"),
        ("pass", False, Level.OK, "none"),
        ("raise RuntimeError('no CUDA')", True, Level.FAILURE, "no CUDA"),
    ],
)
def test_gpus_are_those_that_torch_sees(
    sees: str, driver: bool, level: Level, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(here, "SEES", sees)
    monkeypatch.setattr(here, "DRIVER", tmp_path if driver else tmp_path / "none")
    found = of_machine(SETTINGS)["GPU"]
    assert found.level is level
    assert text in found.found


def test_a_list_of_all_sites_may_name_this_one() -> None:
    settings = replace(SETTINGS, listen="0.0.0.0:7000", advertise="berlin.invalid", insecure=True)
    named = replace(settings, peers=("berlin.invalid:7000", "berlin@berlin.invalid:7000", "paris.invalid:7000"))
    assert {each.where for each in find(named)} == {"here", "paris.invalid:7000"}


def test_the_command_finds_an_expired_certificate_as_data(swarm, tmp_path: Path) -> None:
    make_identities({"berlin": tmp_path / "berlin"}, now=datetime.now(UTC) - timedelta(days=400))
    arguments = "--identity", str(tmp_path / "berlin"), "--peer", "127.0.0.1:1"
    failed = swarm("check", "--json", *arguments)
    assert failed.returncode == 1, failed.stderr
    found = {(each["where"], each["what"]): each for each in json.loads(failed.stdout)}
    assert found["here", "certificate"]["level"] == "failure"
    assert "swarm invite berlin --again" in found["here", "certificate"]["action"]
    assert found["127.0.0.1:1", "reached"]["level"] == "failure"


def test_the_command_ends_with_an_error_where_something_fails(swarm, tmp_path: Path) -> None:
    failed = swarm("check", "--json", "--peer", "127.0.0.1:1", "--model-dir", str(tmp_path / "out"))
    assert failed.returncode == 1, failed.stderr
    found = {(each["where"], each["what"]): each["level"] for each in json.loads(failed.stdout)}
    assert found["127.0.0.1:1", "reached"] == "failure"
    assert found["here", "model_dir"] == "ok"
    fine = swarm("check", "--model-dir", str(tmp_path / "out"))
    assert fine.returncode == 0
    # How many warnings there are depends on the limits of the machine.
    assert fine.stdout.splitlines()[-1].startswith("looked at this machine and 0 other peers: 0 failures, ")

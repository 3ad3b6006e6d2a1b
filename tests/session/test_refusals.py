"""Incompatible peers: the error at each of them, and the peers that continue."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

from swarm import hookimpl
from swarm.config import resolve
from swarm.consensus import waiting
from swarm.errors import ConfigurationError, ModelError, StartTimeoutError, SwarmError
from swarm.messages import Envelope, Hello, TensorLine
from swarm.peer.roster import Roster
from swarm.records import PeerInfo
from swarm.session import Session
from swarm.tensors.state import Schema, TensorSpec
from swarm.testing.nodes import eventually
from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, together

WEIGHTS = {"dense": np.zeros((4, 3), np.float32), "bias": np.zeros(3, np.float32)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["bias"] += 1


def outcome(peer: SwarmPeer) -> str | None:
    """The error that the start ends with, as ``Type: text``; a peer that starts leaves at once."""
    try:
        peer.session.begin()
    except SwarmError as error:
        return f"{type(error).__name__}: {error}"
    peer.session.abort("the test is over")
    return None


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"dense": np.zeros((4, 5), np.float32)}, r"tensor 0 is dense float32\[4, .\] \(weight\) here and dense"),
        ({"bias": np.zeros(3, np.float64)}, r"tensor 1 is bias float..\[3\] \(weight\) here and bias float"),
        ({"extra": np.zeros(1, np.float32)}, r". tensors here, . there; only (here|there): extra float32\[1\]"),
    ],
)
def test_models_that_differ_refuse_each_other_and_name_the_tensor(arrays: dict, told: str) -> None:
    swarm = MemorySwarm(world_size=2)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS | arrays)
    ends = together(partial(outcome, ada), partial(outcome, bob))
    assert all(end.startswith("IncompatiblePeerError: ") for end in ends)
    assert any(re.search(told, line) for line in (*ada.lines, *bob.lines))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sync_interval": 16}, ("128 at ada", "16 at bob")),
        ({"merge_method": "coordmedian"}, ("mean at ada", "coordmedian at bob")),
        ({"min_peers": 3, "world_size": 3}, ("2 at ada", "3 at bob")),
        ({"share": "dense"}, ("[] at ada", "['dense'] at bob")),
        ({"local": ["bias"]}, ("[] at ada", "['bias'] at bob")),
    ],
)
def test_contradicting_settings_are_named_with_both_values(settings: dict, told: tuple[str, str]) -> None:
    swarm = MemorySwarm(world_size=2)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS, **settings)
    ends = together(partial(outcome, ada), partial(outcome, bob))
    for end in ends:
        assert end.startswith("IncompatiblePeerError: ")
        assert f"{next(iter(settings))} is {told[0]} and {told[1]};" in end or f"{told[1]} and {told[0]};" in end


def test_three_continue_without_an_incompatible_peer() -> None:
    swarm = MemorySwarm(world_size=4, sync_interval=2, straggler_timeout=0.5)
    three = [swarm.peer(name, WEIGHTS) for name in ("ada", "bob", "cyd")]
    odd = swarm.peer("dan", WEIGHTS, sync_interval=3)
    end, *_ = together(partial(outcome, odd), *(partial(peer.train, 4, step) for peer in three))
    assert end.startswith("IncompatiblePeerError: ")
    assert "sync_interval" in end
    assert len({peer.digest() for peer in three}) == 1
    assert [len(report.group) for peer in three for report in peer.reports] == [3] * 6
    assert all(any("refused dan at" in line or "at memory" in line for line in peer.lines) for peer in three)


def test_a_name_in_use_is_refused_while_its_owner_is_live() -> None:
    swarm = MemorySwarm(world_size=2, failure_timeout=1.0, sync_interval=2)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    together(ada.session.begin, bob.session.begin)
    again = greeting(swarm, "ada", failure_timeout=1.0).peer("bob", WEIGHTS)
    (end,) = together(partial(outcome, again))
    assert end.startswith("IncompatiblePeerError: ")
    assert "the name 'bob' is in use by the live peer at memory:" in end
    assert "choose another" in end
    together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
    assert ada.reports[0].group == ("ada", "bob")
    together(ada.session.end, bob.session.end)


def greeting(swarm: MemorySwarm, first: str, **settings: float) -> MemorySwarm:
    """Another swarm on the same network, whose peers know the address of ``first`` only; names may be the same."""
    eventually(lambda: swarm.addresses, "the first has begun")
    other = MemorySwarm(world_size=2, start_timeout=5, **settings)
    other.network = swarm.network
    other.addresses["swarm_model/first"] = swarm.addresses[f"swarm_model/{first}"]
    return other


@pytest.mark.parametrize("mutual", [False, True], ids=["only the second one greets", "both greet"])
def test_a_name_that_is_taken_is_refused_to_the_second_peer_only(mutual: bool) -> None:
    swarm = MemorySwarm(world_size=2, start_timeout=1.5)
    one = swarm.peer("bob", WEIGHTS)

    def second() -> str | None:
        other = greeting(swarm, "bob")
        again = other.peer("bob", WEIGHTS)
        if mutual:
            swarm.addresses["swarm_model/second"] = "memory:2"
        return outcome(again)

    first, refused = together(partial(outcome, one), second)
    assert first.startswith("StartTimeoutError: ")
    assert "the name" not in first
    assert refused.startswith(
        "IncompatiblePeerError: the name 'bob' is in use by the peer at memory:1, which was there"
    )
    assert "choose another (name, SWARM_NAME, `swarm run --name`)" in refused
    assert not [line for line in one.lines if line.startswith("ERROR") and "the name" in line]


def test_a_peer_with_a_default_name_takes_a_number_where_another_one_has_it() -> None:
    swarm = MemorySwarm(world_size=2, sync_interval=2)
    one = swarm.peer("host", WEIGHTS, named=False)
    others: list[SwarmPeer] = []

    def second() -> None:
        others.append(greeting(swarm, "host").peer("host", WEIGHTS, named=False, sync_interval=2))
        others[0].train(2, step)

    together(partial(one.train, 2, step), second)
    assert one.reports[0].group == ("host", "host-2")
    assert one.digest() == others[0].digest()
    assert "INFO this peer is called host-2, as the name host is taken" in others[0].lines
    assert not [line for peer in (one, *others) for line in peer.lines if line.startswith(("WARNING refuse", "ERROR"))]


def test_a_later_default_name_yields_to_a_given_one() -> None:
    swarm = MemorySwarm(world_size=2, start_timeout=1)
    one = swarm.peer("host", WEIGHTS, named=False)
    first, refused = together(partial(outcome, one), lambda: outcome(greeting(swarm, "host").peer("host", WEIGHTS)))
    assert first.startswith("StartTimeoutError")
    assert refused.startswith("IncompatiblePeerError: the name 'host' is in use")
    assert not any("is called" in line for line in one.lines)


def test_a_third_peer_takes_the_next_number() -> None:
    swarm = MemorySwarm(world_size=3, sync_interval=2)
    one = swarm.peer("host", WEIGHTS, named=False)

    def later(known: int) -> SwarmPeer:
        eventually(lambda: any(f"host-{known} joined" in line for line in one.lines) or known < 2, "it has joined")
        peer = greeting(swarm, "host").peer("host", WEIGHTS, named=False, world_size=3, sync_interval=2)
        peer.train(2, step)
        return peer

    _, second, third = together(partial(one.train, 2, step), partial(later, 1), partial(later, 2))
    assert one.reports[0].group == ("host", "host-2", "host-3")
    assert one.digest() == second.digest() == third.digest()


def test_a_peer_that_has_joined_keeps_its_name() -> None:
    swarm = MemorySwarm(world_size=2, sync_interval=2)
    ada, bob = swarm.peer("ada", WEIGHTS, named=False), swarm.peer("bob", WEIGHTS)
    together(ada.session.begin, bob.session.begin)
    early = PeerInfo(name="ada", incarnation="0", address="memory:99", session="swarm_model")
    greeting = Envelope("swarm_model", "ada", "0", "memory:99", Hello(early, (), (), None, wants_reply=True))
    ada_at, bob_at = (swarm.addresses[f"swarm_model/{name}"] for name in ("ada", "bob"))
    swarm.network.reach(bob_at, ada_at).report(lambda handler: handler.on_envelope(greeting))
    together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
    assert ada.reports[0].group == ("ada", "bob")
    together(ada.session.end, bob.session.end)


def test_a_plugin_refuses_a_peer_with_its_reason() -> None:
    class Doorkeeper:
        @hookimpl
        def swarm_accept_peer(self, peer: PeerInfo) -> str | None:
            return "it is not on the list" if peer.name == "bob" else None

    swarm = MemorySwarm(world_size=2)
    ada = swarm.peer("ada", WEIGHTS, plugins={"doorkeeper": Doorkeeper()})
    bob = swarm.peer("bob", WEIGHTS)
    ends = together(partial(outcome, ada), partial(outcome, bob))
    assert "ada does not accept bob: it is not on the list" in ends[1]
    assert all(end.startswith("IncompatiblePeerError") for end in ends)


def test_the_start_times_out_and_names_the_peers() -> None:
    swarm = MemorySwarm(members=("ada", "bob", "cyd", "dan"), min_peers=3, start_timeout=0.3)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    ends = together(partial(outcome, ada), partial(outcome, bob))
    assert all(end.startswith("StartTimeoutError: ") for end in ends)
    assert all("of the 3 peers needed (min_peers) were here after start_timeout=0.3 s" in end for end in ends)
    assert all("cyd, dan" in end.partition("missing: ")[2] for end in ends)


def test_peers_of_other_sessions_are_named_when_nobody_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LINE_EVERY", 0.2)
    swarm = MemorySwarm(start_timeout=0.8)
    ada, bob = swarm.peer("ada", WEIGHTS, model_name="heart"), swarm.peer("bob", WEIGHTS, model_name="lungs")
    ends = together(partial(outcome, ada), partial(outcome, bob))
    assert ends[0].startswith("StartTimeoutError: session heart did not start: 1 of the 2 peers needed (min_peers)")
    others = "; peers of other sessions (to train with them, set the same --model-name, here"
    assert ends[0].endswith(f"there: nobody else of session heart{others} heart): bob (session lungs)")
    assert ends[1].endswith(f"there: nobody else of session lungs{others} lungs): ada (session heart)")
    lines = [line for line in ada.lines if line.startswith("WARNING waiting to start with 1 more (never came), for ")]
    assert lines[0].endswith(f" s at most{others} heart): bob (session lungs)")


ADVICE = (
    "; this peer listens at memory:1, a port that was chosen at random: give it --listen HOST:PORT, so that others can "
    "name it with --peer"
)


def test_a_peer_that_nobody_can_name_says_so_once_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LINE_EVERY", 0.2)
    swarm = MemorySwarm(peers=("127.0.0.1:9",), start_timeout=1)
    ada = swarm.peer("ada", WEIGHTS)
    with pytest.raises(StartTimeoutError):
        ada.session.begin()
    lines = [line for line in ada.lines if "waiting to start with" in line]
    assert lines[0].endswith(ADVICE)
    assert len(lines) > 1
    assert not [line for line in lines[1:] if "at random" in line]


@pytest.mark.parametrize(
    "given",
    [
        {"peers": ()},
        {"listen": "127.0.0.1:7000"},
        {"advertise": "localhost:7000"},
        {"rendezvous": "somewhere"},
        {"discovery": "directory", "rendezvous": "somewhere"},
        {"rank": 1, "world_size": 2},
        {"transport": "nats"},
    ],
    ids=repr,
)
def test_a_peer_that_others_can_find_gives_no_advice_about_its_port(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object]
) -> None:
    monkeypatch.setattr(waiting, "LINE_EVERY", 0.1)
    swarm = MemorySwarm(**{"peers": ("127.0.0.1:9",), "start_timeout": 0.3, **given})
    ada = swarm.peer("ada", WEIGHTS)
    with pytest.raises(StartTimeoutError):
        ada.session.begin()
    assert any("waiting to start with" in line for line in ada.lines)
    assert not any("at random" in line for line in ada.lines)


def test_a_peer_that_has_met_another_gives_no_advice_about_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LINE_EVERY", 0.2)
    swarm = MemorySwarm(peers=("127.0.0.1:9",), min_peers=3, start_timeout=0.8)
    peers = [swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS), swarm.peer("cyd", WEIGHTS, model_name="another")]
    together(*(partial(outcome, peer) for peer in peers))
    for peer in peers:
        assert any("waiting to start with" in line for line in peer.lines)
        assert not any("at random" in line for line in peer.lines)


def test_a_peer_of_another_session_or_model_is_not_called_missing() -> None:
    swarm = MemorySwarm(members=("ada", "bob", "cyd", "dan"), min_peers=4, start_timeout=0.5)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    cyd = swarm.peer("cyd", WEIGHTS, model_name="another")
    ends = together(*(partial(outcome, peer) for peer in (ada, bob, cyd)))
    for end in ends[:2]:
        assert "here swarm_model): cyd (session another); " in end
        assert end.endswith("; missing: dan")


def test_a_start_alone_times_out() -> None:
    swarm = MemorySwarm(world_size=2, start_timeout=0.2)
    ada = swarm.peer("ada", WEIGHTS)
    with pytest.raises(StartTimeoutError, match="1 of the 2 peers needed"):
        ada.session.begin()
    assert ada.session.over
    with pytest.raises(TimeoutError):
        swarm.peer("ada", WEIGHTS).session.begin()


def test_it_starts_with_min_peers_when_the_straggler_timeout_is_over() -> None:
    swarm = MemorySwarm(world_size=3, min_peers=2, straggler_timeout=0.1)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    assert together(partial(outcome, ada), partial(outcome, bob)) == [None, None]


def test_nothing_is_opened_if_no_swarm_is_configured() -> None:
    session = Session(resolve({}, environment={}).settings, ArrayModel(WEIGHTS))
    with pytest.raises(ConfigurationError, match="no swarm is configured"):
        session.begin()


def test_a_tensor_that_cannot_be_merged_is_named() -> None:
    swarm = MemorySwarm(world_size=1)
    ada = swarm.peer("ada", {"tokens": np.array(["a"])})
    with pytest.raises(ModelError, match="tokens"):
        ada.session.begin()


def test_an_unknown_merge_method_names_the_known_ones() -> None:
    swarm = MemorySwarm(world_size=1, merge_method="medain")
    with pytest.raises(
        ConfigurationError, match="merge_method='medain' is not allowed: allowed is 'centered_clip' or 'coordmedian'"
    ):
        swarm.peer("ada", WEIGHTS).session.begin()


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "expert"), ("f4,(", "counter"), ("float7", "counter")])
def test_an_unknown_kind_or_dtype_of_tensor_is_refused(dtype: str, kind: str) -> None:
    ours = Schema((TensorSpec("w", (2,), "float32"),))
    me = PeerInfo(name="ada", incarnation="1", address="a", session="s", fingerprint=ours.fingerprint)
    newer = PeerInfo(name="bob", incarnation="2", address="b", session="s", fingerprint="other")
    hello = Hello(newer, (TensorLine("w", (2,), dtype, kind),), (), None, wants_reply=True)
    refusal = Roster(me, ours).clash(hello)
    assert refusal is not None
    assert "bob declares what this version does not know" in refusal.reason


def test_a_failed_start_is_one_sentence_in_the_log_before_it_is_raised() -> None:
    alone = MemorySwarm(min_peers=2, start_timeout=0.2).peer("ada", {"w": np.zeros(2)})
    with pytest.raises(StartTimeoutError) as raised:
        alone.session.begin()
    (line,) = [line for line in alone.lines if line.startswith("ERROR")]
    assert re.fullmatch(rf"{re.escape(f'ERROR {raised.value}')} \(tests/session/test_refusals\.py:\d+\)", line)
    assert raised.value.told

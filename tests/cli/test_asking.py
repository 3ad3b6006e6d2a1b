"""Whom the page asks, how often, and what it makes of the answers."""

from __future__ import annotations

import pytest

from swarm.cli.asking import AGAIN, AT_ONCE, MOST_PEERS, Watch
from swarm.clock import ManualClock
from swarm.errors import ConfigurationError, UnreachablePeerError, UntrustedPeerError


class Peers:
    """Peers that answer, and who was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def fetch(self, address, timeout, identity):
        self.asked.append((address, identity))
        answer = self.answers.get(address.replace("@", "_").replace(":", "_").replace(".", "_"))
        if answer is None:
            raise UnreachablePeerError(f"nobody answers at {address}")
        return answer


def peer(name, *known):
    return {"name": name, "session": "heart", "peers": [{"name": each, "address": at} for each, at in known]}


def test_every_peer_that_is_found_is_asked():
    peers = Peers(h_1=peer("a"), h_2=peer("b"))
    told = Watch(lambda: {"h:1": None, "h:2": None}, peers.fetch).turn()
    assert [(each["asked"], each["name"]) for each in told["peers"]] == [("h:1", "a"), ("h:2", "b")]
    assert told["unreachable"] == []


def test_who_does_not_answer_is_named_and_asked_less_often():
    peers, clock = Peers(h_1=peer("a")), ManualClock()
    watch = Watch(lambda: {"h:1": None, "h:2": None}, peers.fetch, clock)
    told = watch.turn()
    assert [each["name"] for each in told["peers"]] == ["a"]
    assert told["unreachable"] == [{"address": "h:2", "reason": "nobody answers at h:2"}]
    watch.turn()
    assert [address for address, _ in peers.asked].count("h:2") == 1
    clock.advance(AGAIN)
    peers.answers["h_2"] = peer("b")
    assert watch.turn()["unreachable"] == []


def test_an_address_that_is_withdrawn_is_forgotten():
    places, peers = {"h:1": None}, Peers(h_1=peer("a"))
    watch = Watch(lambda: places, peers.fetch)
    assert watch.turn()["peers"]
    places.clear()
    assert watch.turn() == {"time": pytest.approx(watch.turn()["time"], abs=60), "peers": [], "unreachable": []}


def test_many_peers_take_turns():
    places = {f"h:{port}": None for port in range(1, 3 * AT_ONCE + 1)}
    peers, clock = Peers(), ManualClock()
    peers.answers = {f"h_{port}": peer(f"p{port}") for port in range(1, 3 * AT_ONCE + 1)}
    watch = Watch(lambda: places, peers.fetch, clock)
    for turn in range(1, 4):
        clock.advance(1.0)
        assert len(watch.turn()["peers"]) == turn * AT_ONCE
        assert len(peers.asked) == turn * AT_ONCE
    assert sorted(address for address, _ in peers.asked) == sorted(places)


def test_peers_of_this_machine_that_others_know_are_asked_too():
    peers = Peers(**{"127_0_0_1_1": peer("a", ("b", "127.0.0.1:2")), "127_0_0_1_2": peer("b", ("a", "127.0.0.1:1"))})
    watch = Watch(lambda: {"127.0.0.1:1": None}, peers.fetch)
    watch.turn()
    assert [each["name"] for each in watch.turn()["peers"]] == ["a", "b"]


@pytest.mark.parametrize("address", ["10.0.0.7:22", "b@127.0.0.1", "", "x" * 400, "intranet.example:80"])
def test_without_certificates_nobody_sends_the_page_to_another_machine(address):
    peers = Peers(**{"127_0_0_1_1": peer("a", ("b", address))})
    watch = Watch(lambda: {"127.0.0.1:1": None}, peers.fetch)
    for _ in range(2):
        watch.turn()
    assert {each for each, _ in peers.asked} == {"127.0.0.1:1"}


class Member:
    """An identity whose consortium has these members."""

    def require_member(self, name):
        if name not in {"a", "b"}:
            raise UntrustedPeerError(f"{name} is not a member")


def test_with_certificates_only_members_are_asked_at_addresses_with_their_names(monkeypatch, tmp_path):
    monkeypatch.setattr("swarm.cli.asking.identity_at", lambda directory: Member())
    told = [("b", "b@10.0.0.2:1"), ("c", "c@10.0.0.3:1"), ("b", "x@10.0.0.4:1"), ("a", "a@10.0.0.5:1")]
    peers = Peers(a_10_0_0_1_1=peer("a", *told), b_10_0_0_2_1=peer("b"))
    watch = Watch(lambda: {"a@10.0.0.1:1": tmp_path}, peers.fetch)
    watch.turn()
    watch.turn()
    assert set(peers.asked) == {("a@10.0.0.1:1", tmp_path), ("b@10.0.0.2:1", tmp_path)}


def test_a_peer_under_another_name_than_its_address_has_is_not_believed():
    told = Watch(lambda: {"a@h:1": None}, Peers(a_h_1=peer("b")).fetch).turn()
    assert told["peers"] == []
    assert told["unreachable"] == [{"address": "a@h:1", "reason": "it calls itself b"}]


def test_an_answer_that_is_no_status_is_a_reason_not_an_error():
    told = Watch(lambda: {"h:1": None}, Peers(h_1={"sessions": 5}).fetch).turn()
    assert told["peers"] == []
    assert "status" in told["unreachable"][0]["reason"]


def test_a_peer_that_tells_of_very_many_is_not_followed_for_ever():
    told = [(f"p{port}", f"127.0.0.1:{port}") for port in range(2, 900)]
    peers = Peers(**{"127_0_0_1_1": peer("a", *told)})
    watch = Watch(lambda: {"127.0.0.1:1": None}, peers.fetch, ManualClock())
    for _ in range(200):
        watch.turn()
    assert len({address for address, _ in peers.asked}) == MOST_PEERS


def test_all_sessions_of_a_process_are_told():
    both = {"sessions": [peer("a"), {**peer("a"), "session": "lungs"}]}
    told = Watch(lambda: {"h:1": None}, Peers(h_1=both).fetch).turn()
    assert [each["session"] for each in told["peers"]] == ["heart", "lungs"]


def test_text_of_peers_is_escaped():
    told = Watch(lambda: {"h:1": None}, Peers(h_1={**peer("a"), "security": "\x1b[2J"}).fetch).turn()
    assert "\x1b" not in told["peers"][0]["security"]


def test_what_finds_peers_may_fail_by_name():
    def fails():
        raise ConfigurationError("no peer")

    with pytest.raises(ConfigurationError):
        Watch(fails, Peers().fetch).turn()

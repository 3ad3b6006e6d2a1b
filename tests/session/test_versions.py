"""Which versions of the protocol meet, and the sentence that both peers get if theirs do not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.metadata import version

import numpy as np
import pytest

from swarm.errors import IncompatiblePeerError
from swarm.messages import Envelope, Hello
from swarm.session.platform import Platform
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together
from swarm.versions import NEWEST, PROTOCOLS, Versions, here, obstacle

WEIGHTS = {"w": np.zeros(3, np.float32)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def speaking(newest: int, oldest: int, release: str = "") -> Platform:
    return Platform(versions=Versions(newest, oldest, release))


def refusal(peer: SwarmPeer) -> str:
    """Why the start of this peer fails."""
    with pytest.raises(IncompatiblePeerError) as raised:
        peer.session.begin()
    return str(raised.value)


def test_this_release_names_its_range_and_itself() -> None:
    assert here() == Versions(NEWEST, PROTOCOLS[NEWEST].understands, version("swarm-learning"))


def test_every_version_from_the_first_release_on_understands_the_one_before() -> None:
    assert list(PROTOCOLS) == list(range(NEWEST + 1))
    released = {number: protocol for number, protocol in PROTOCOLS.items() if "before" not in protocol.releases}
    first = min(released)
    assert all(protocol.understands <= max(number - 1, first) for number, protocol in released.items())


@pytest.mark.parametrize(
    ("one", "two", "behind"),
    [
        ((1, 0), (0, 0), None),
        ((1, 1), (2, 1), None),
        ((2, 2), (1, 0), "bob"),
        ((0, 0), (2, 1), "ada"),
        ((3, 3), (5, 4), "ada"),
    ],
)
def test_two_meet_if_their_ranges_overlap_and_else_the_older_one_is_to_update(one, two, behind) -> None:
    named = {"ada": Versions(*one, "1.0"), "bob": Versions(*two, "2.0")}
    sentence = obstacle(named)
    assert (sentence is None) is (behind is None)
    if sentence:
        assert sentence.endswith(f"update Swarm at {behind} with `pip install --upgrade swarm-learning`")
        assert sentence == obstacle(dict(reversed(named.items())))


def test_the_sentence_names_both_peers_their_versions_and_their_releases() -> None:
    assert obstacle({"bob": None, "ada": Versions(3, 2, "0.9.1")}) == (
        "ada (protocols 2 to 3, Swarm 0.9.1) and bob (protocol 0, an unnamed release of Swarm) have no version of the "
        "protocol in common: update Swarm at bob with `pip install --upgrade swarm-learning`"
    )


def test_the_name_of_a_release_is_cut() -> None:
    sentence = obstacle({"ada": Versions(2, 2, "x" * 5000), "bob": None})
    assert sentence is not None
    assert len(sentence) < 300


@pytest.mark.parametrize(("newest", "oldest"), [(0, 1), (1, -1), (-1, -1)])
def test_what_is_no_range_is_refused(newest: int, oldest: int) -> None:
    sentence = obstacle({"ada": here(), "bob": Versions(newest, oldest, "")})
    assert sentence == f"bob names the versions {oldest} to {newest} of the protocol, which is no range"


def test_peers_without_a_common_version_refuse_each_other_with_one_sentence() -> None:
    swarm = MemorySwarm(world_size=2)
    ada = swarm.peer("ada", WEIGHTS, platform=speaking(5, 4, "9.0"))
    bob = swarm.peer("bob", WEIGHTS)
    told = together(partial(refusal, ada), partial(refusal, bob))
    sentence = obstacle({"ada": Versions(5, 4, "9.0"), "bob": here()})
    assert sentence is not None
    assert "update Swarm at bob" in sentence
    assert all(sentence in one for one in told)


def test_the_versions_are_compared_before_the_settings() -> None:
    swarm = MemorySwarm(world_size=2)
    ada = swarm.peer("ada", WEIGHTS, platform=speaking(5, 4), sync_interval=3)
    told = together(partial(refusal, ada), partial(refusal, swarm.peer("bob", WEIGHTS)))
    assert not any("sync_interval" in one for one in told)


def test_a_session_of_two_versions_uses_the_older_one_and_shows_both() -> None:
    swarm = MemorySwarm(world_size=2, sync_interval=2)
    newer = swarm.peer("ada", WEIGHTS, platform=speaking(NEWEST + 1, NEWEST, "9.0"))
    older = swarm.peer("bob", WEIGHTS)
    together(newer.session.begin, older.session.begin)
    shown = newer.session.status()
    together(partial(newer.go_on, 4, step), partial(older.go_on, 4, step))
    together(newer.session.end, older.session.end)
    assert (shown["protocol"], shown["oldest_protocol"], shown["release"]) == (NEWEST + 1, NEWEST, "9.0")
    assert shown["session_protocol"] == NEWEST
    (peer,) = shown["peers"]
    assert (peer["protocol"], peer["release"]) == (NEWEST, here().release)
    assert newer.digest() == older.digest()
    line = f"INFO from round 0 on the session uses protocol {NEWEST}, the newest that all of its peers speak"
    assert line in newer.lines
    assert line not in older.lines


def test_a_peer_that_names_no_version_is_refused_as_one_of_protocol_0() -> None:
    swarm = MemorySwarm(world_size=2, sync_interval=2)
    ada, bob = swarm.peer("ada", WEIGHTS), swarm.peer("bob", WEIGHTS)
    together(ada.session.begin, bob.session.begin)
    info = replace(ada.session._engine._me, name="cyd", incarnation="0", address="memory:99", versions=None)
    greeting = Envelope("swarm_model", "cyd", "0", "memory:99", Hello(info, (), (), None, wants_reply=False))
    ada_at, bob_at = (swarm.addresses[f"swarm_model/{name}"] for name in ("ada", "bob"))
    swarm.network.reach(bob_at, ada_at).report(lambda handler: handler.on_envelope(greeting))
    sentence = obstacle({"ada": here(), "cyd": None})
    assert sentence is not None
    assert "update Swarm at cyd" in sentence
    eventually(lambda: any(sentence in line for line in ada.lines), "ada has refused cyd")
    assert [shown["name"] for shown in ada.session.status()["peers"]] == ["bob"]
    for peer in (ada, bob):
        peer.session.abort("the test is over")

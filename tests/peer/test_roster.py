from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.messages import MAX_PEERS, Hello
from swarm.peer.roster import Roster
from swarm.records import PeerInfo
from swarm.tensors.state import Schema

SCHEMA = Schema(())


def info(name: str, address: str) -> PeerInfo:
    return PeerInfo(name=name, incarnation=name, address=address, session="s", fingerprint=SCHEMA.fingerprint)


@pytest.mark.parametrize(("form", "clashes"), [("{}@10.0.0.{}:1", False), ("10.0.0.{1}:1", True)])
def test_whoever_gives_the_place_of_another_keeps_it_out_only_without_verified_names(form, clashes):
    roster = Roster(info("berlin", form.format("berlin", 1)), SCHEMA)
    roster.meet(info("eve", form.format("eve", 2)))
    clash = roster.clash(Hello(info("paris", form.format("paris", 2)), (), (), None, wants_reply=True))
    assert (clash is not None) == clashes
    if clash:
        assert "eve is at 10.0.0.2:1, the address that paris gives" in clash.reason


def test_of_the_peers_that_are_gone_those_that_have_left_make_room_first() -> None:
    roster = Roster(info("berlin", "memory:0"), SCHEMA)
    roster.meet(info("paris", "memory:1"))
    roster.lose("memory:1")
    for number in range(MAX_PEERS + 100):
        roster.meet(info(f"p{number}", "memory:2"))
        roster.leave(f"p{number}")
    assert len(roster.known()) == MAX_PEERS
    assert roster.info("paris") is not None
    assert roster.away() == {"memory:1"}


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [
        ((), "gives the addresses of 0 and berlin 1 further processes"),
        (("paris@10.0.0.2:2", "paris@10.0.0.2:3"), "gives the addresses of 2 and berlin 1 further processes"),
        (("eve@10.0.0.3:1",), "an address of a further process under another name"),
        (("paris@10.0.0.2:2",), ""),
    ],
)
def test_of_shards_each_peer_gives_as_many_addresses_as_its_own(ranks: tuple[str, ...], reason: str) -> None:
    roster = Roster(replace(info("berlin", "berlin@10.0.0.1:1"), ranks=("berlin@10.0.0.1:2",)), SCHEMA)
    hello = Hello(replace(info("paris", "paris@10.0.0.2:1"), ranks=ranks), (), (), None, wants_reply=True)
    clash = roster.clash(hello)
    assert (clash is None) == (not reason)
    assert clash is None or reason in clash.reason

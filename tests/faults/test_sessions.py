"""Two sessions whose peers all know one another's addresses."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack

SESSIONS = ("lungs", "hearts")
NAMES = ("ada", "bob")


def test_peers_of_one_name_in_two_sessions_that_know_all_addresses(training) -> None:
    places = dict(zip([(session, name) for session in SESSIONS for name in NAMES], _addresses(4), strict=True))
    peers = {
        (session, name): training.peer(
            name,
            rendezvous=None,
            listen=place,
            peers=",".join(set(places.values()) - {place}),
            model_name=session,
            world_size=2,
        )
        for (session, name), place in places.items()
    }
    _train_apart(training, peers)


def test_two_sessions_in_one_rendezvous_with_peers_of_one_name(training) -> None:
    peers = {
        (session, name): training.peer(name, model_name=session, world_size=2) for session in SESSIONS for name in NAMES
    }
    _train_apart(training, peers)


def _train_apart(training, peers) -> None:
    for peer in peers.values():
        peer.said("^ROUND 8 merged")
    training.finish()
    for session in SESSIONS:
        training.one_model(*(peer for (other, _), peer in peers.items() if other == session))
    assert len({peer.digest for peer in peers.values()}) == len(SESSIONS)
    for peer in peers.values():
        rounds = re.findall(r"^ROUND \d+ \w+ (.*)$", peer.text, re.MULTILINE)
        assert rounds
        assert [group for group in rounds if group != " ".join(NAMES)] == []
        warnings = [line for _, line in peer.lines if "WARNING" in line and "no answer yet" not in line]
        assert warnings == []


def _addresses(number: int) -> list[str]:
    """Of this machine, that nobody uses."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]

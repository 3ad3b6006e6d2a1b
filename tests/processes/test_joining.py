"""Joining by address, and what a wrong one gets."""

from __future__ import annotations

import socket
import sys

import pytest

SWARM = (sys.executable, "-m", "swarm.cli", "run")


def test_one_address_on_one_side_is_enough(start, port: int) -> None:
    listening = (*SWARM, "--listen", f"127.0.0.1:{port}", "--name", "ada", "--")
    joining = (*SWARM, "--peer", f"127.0.0.1:{port}", "--name", "bob", "--")
    ada = start("ada", 10, 0.0, prefix=listening, rendezvous=None)
    bob = start("bob", 10, 0.0, prefix=joining, rendezvous=None)
    assert ada.digest == bob.digest
    assert ada.wait() == bob.wait() == 0


def test_a_third_that_knows_one_meets_both(start, port: int) -> None:
    peers = [start("ada", 10, 0.0, rendezvous=None, listen=f"127.0.0.1:{port}", min_peers=3)]
    peers += [start(name, 10, 0.0, rendezvous=None, peers=f"127.0.0.1:{port}", min_peers=3) for name in ("bob", "cyd")]
    assert len({peer.digest for peer in peers}) == 1
    peers[1].said("^ROUND 1 merged ada bob cyd$")


def test_an_address_where_nobody_is(start, port: int) -> None:
    ada = start("ada", 10, 0.0, rendezvous=None, peers=f"127.0.0.1:{port}", start_timeout=5)
    assert ada.wait() == 1
    last = ada.text.splitlines()[-1]
    assert last.startswith("swarm.errors.StartTimeoutError: session swarm_model did not start: 1 of the 2 peers needed")
    assert last.endswith(f"; no answer from 127.0.0.1:{port}")
    ada.said(f"WARNING swarm: no answer yet, trying again: 127.0.0.1:{port} cannot be reached")


def test_an_address_where_somebody_else_is(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        ada = start("ada", 10, 0.0, rendezvous=None, peers=address, start_timeout=1)
        assert ada.wait() == 1
    assert f"; no answer from {address}" in ada.text.splitlines()[-1]


def test_a_port_in_use(start, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        ada = start("ada", 10, 0.0, listen=f"127.0.0.1:{port}")
        assert ada.wait() == 1
    last = ada.text.splitlines()[-1]
    assert last.startswith("swarm.errors.AddressError: ")
    assert str(port) in last


@pytest.mark.parametrize(
    "shown", [{"log": None}, {"log": None, "traceback": "short"}, {"traceback": "short"}], ids=repr
)
def test_a_start_without_settings_says_so_once(start, shown) -> None:
    ada = start("ada", 10, 0.0, rendezvous=None, **shown)
    assert ada.wait() == 1
    ada.said("no swarm is configured")
    assert ada.text.count("no swarm is configured") == 1
    assert ("Traceback" in ada.text) is ("traceback" not in shown)

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.fleet.faults import Kind, schedule
from benchmarks.fleet.journal import Event, Journal, Reader, What
from benchmarks.fleet.rounds import diverged, last_round, lost, mid_round, period, recovery
from benchmarks.fleet.sockets import can_cut, cut

OTHERS = frozenset({"ada", "bob"})


def committed(peer: str, at: float, number: int, group: str, **fields: object) -> Event:
    given = {"lineage": "l", "digest": "d", "offered": at - 0.1} | fields
    return Event(peer=peer, pid=1, at=at, what=What.ROUND, round=number, group=tuple(group.split()), **given)


def test_events_are_read_once_and_only_as_complete_lines(tmp_path):
    reader, journal = Reader(tmp_path), Journal(tmp_path / "ada-1.jsonl", "ada", 1)
    journal.note(What.BEGINS)
    journal.note(What.ROUND, round=3, group=("ada", "bob"), lineage="l")
    first, second = reader.read()
    assert (first.what, second.what, second.group) == (What.BEGINS, What.ROUND, ("ada", "bob"))
    with (tmp_path / "bob-2.jsonl").open("w") as file:
        line = json.dumps({"peer": "bob", "pid": 2, "at": 1.0, "what": "done", "accuracy": 0.5})
        file.write(line[:20])
        file.flush()
        assert reader.read() == []
        file.write(line[20:] + "\n")
    assert [(event.peer, event.accuracy) for event in reader.read()] == [("bob", 0.5)]
    journal.close()


def test_recovery_counts_from_the_fault_or_the_last_offer_to_the_last_commit():
    events = [
        committed("ada", 10.5, 7, "ada bob cyd"),  # the victim had loaded this one
        committed("bob", 10.6, 7, "ada bob cyd"),
        committed("ada", 12.0, 8, "ada bob", offered=11.0),
        committed("bob", 12.5, 8, "ada bob", offered=9.0),
    ]
    assert recovery(events, 10.0, OTHERS, without="cyd") == pytest.approx(1.5)
    assert recovery(events, 11.8, OTHERS, without="cyd") == pytest.approx(0.7)
    assert recovery(events[:3], 10.0, OTHERS, without="cyd") is None
    assert recovery(events, 10.0, OTHERS, without=None) == pytest.approx(0.1)


def test_recovery_does_not_wait_for_a_peer_that_was_not_in_the_group():
    events = [committed("ada", 12.0, 8, "ada dan", offered=9.0), committed("dan", 12.1, 8, "ada dan", offered=9.0)]
    assert recovery(events, 11.0, OTHERS | {"dan"}, without="cyd") == pytest.approx(1.1)


def test_two_digests_of_one_round_or_of_the_closing_model_are_found():
    same = [committed("ada", 1.0, 1, "ada bob"), committed("bob", 1.0, 1, "ada bob")]
    assert diverged(same) == []
    assert diverged([*same, committed("cyd", 1.0, 1, "ada bob", lineage="m", digest="e")]) == []
    assert len(diverged([*same, committed("cyd", 1.0, 1, "ada bob", digest="e")])) == 1
    closed = [
        Event(peer=peer, pid=1, at=2.0, what=What.CLOSED, digest=digest, closing=closing)
        for peer, digest, closing in (("ada", "x", True), ("bob", "y", True), ("cyd", "z", False))
    ]
    assert diverged([*same, *closed]) == ["closing models: {'ada': 'x', 'bob': 'y'}"]
    assert diverged([*same, closed[0], closed[2]]) == []


def test_rounds_of_another_lineage_and_gaps_are_lost():
    events = [committed("ada", float(number), number, "ada bob") for number in (1, 2, 4)]
    fork = committed("bob", 2.5, 3, "bob", lineage="m")
    assert lost(events) == [("l", 3)]
    assert lost([*events, fork]) == [("m", 3), ("l", 3)]
    assert lost([]) == []
    assert last_round(events) == 4
    assert period(events) == 2.0


def test_a_peer_is_mid_round_from_its_attempt_to_its_model():
    started = Event(peer="ada", pid=1, at=5.0, what=What.EXCHANGES, round=2)
    events = [committed("ada", 4.0, 1, "ada bob"), started, committed("ada", 6.0, 2, "ada bob")]
    assert [mid_round(events, "ada", at) for at in (4.5, 5.5, 6.5)] == [False, True, False]


def test_a_schedule_is_reproducible_and_uses_victims_equally():
    counts, victims = {Kind.KILL: 8, Kind.FREEZE: 2}, dict.fromkeys(Kind, ("ada", "bob", "cyd", "dan"))
    faults = schedule(counts, victims, seed=1)
    assert faults == schedule(counts, victims, seed=1) != schedule(counts, victims, seed=2)
    killed = Counter(fault.victim for fault in faults if fault.kind is Kind.KILL)
    assert killed == dict.fromkeys(("ada", "bob", "cyd", "dan"), 2)
    assert sum(fault.kind is Kind.FREEZE for fault in faults) == 2
    assert sum(fault.in_exchange for fault in faults) == 5


@pytest.mark.skipif(not can_cut(os.getpid()), reason="this system gives no access to the sockets of a process")
def test_a_peer_whose_parent_ended_while_it_started_ends(tmp_path):
    command = [sys.executable, "-m", "benchmarks.fleet.peer", str(tmp_path), "1"]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "the fleet is gone")


def test_cutting_ends_connections_and_spares_listening_sockets():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            assert cut(os.getpid()) >= 2
            assert client.recv(1) == accepted.recv(1) == b""
        with socket.create_connection(server.getsockname()) as again:
            again.sendall(b"x")
            with server.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"

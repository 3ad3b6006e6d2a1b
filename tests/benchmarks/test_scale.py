from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.harness.workers import ROOT
from benchmarks.scale.__main__ import SCALE, figures, table
from benchmarks.scale.swarm import Sample, Swarm
from benchmarks.scale.traffic import STREAM, CountingTransport, Traffic
from swarm.messages import Envelope, Leave
from swarm.transport.grpc.wire import encode
from swarm.transport.memory import MemoryNetwork


def sample(peers: int, *, linear: int, square: int, data: float = 1.0) -> Sample:
    """One round in which each peer sends ``linear`` Offers and ``square`` times ``peers`` Hellos to each peer."""
    model, sent = 1 << 20, []
    for rank in range(peers):
        traffic = Traffic()
        traffic.messages = Counter({"Offer": linear * peers, "Hello": square * peers**2})
        traffic.bytes = Counter({"Offer": 10 * linear * peers, "Hello": 10 * square * peers**2})
        traffic.repeated, traffic.repeated_bytes = Counter({"Offer": rank}), Counter({"Offer": 11 * rank})
        traffic.data = Counter({"memory:1": int(2 * (peers - 1) / peers * model * (1.0 if rank else data))})
        sent.append(traffic)
    return Sample(
        rounds=1, model_bytes=model, sent=sent, cpu_seconds=1.0, seconds=1.0, joining=sent, joining_seconds=1.0
    )


def test_figures_are_of_the_average_peer_and_of_the_busiest_one():
    measured = sample(2, linear=4, square=0)
    measured.sent[1].messages["Leave"] = 2
    measured.sent[1].bytes["Leave"] = 60
    assert figures([replace(measured, rounds=7)])["sizes"][0] == {
        "peers": 2,
        "control_messages": 1.29,
        "control_messages_most": 1.43,
        "repeated_messages": 0.07,
        "repeated_bytes": 0.8,
        "control_bytes": 15.7,
        "control_bytes_most": 20.0,
        "data_bytes": 149_797,
        "data_bytes_most": 149_797,
        "data_over_bound": 0.1429,
        "cpu_seconds": 0.07143,
        "seconds": 0.1429,
        "messages_by_kind": {"Leave": 0.143, "Offer": 1.143},
        "bytes_by_kind": {"Leave": 4.3, "Offer": 11.4},
        "joining": {"messages": 9.5, "bytes": 116, "seconds": 1.0},
    }


def test_growth_up_to_the_limit_counts_as_linear_and_sizes_must_grow(capsys):
    smaller, larger = sample(2, linear=50, square=0), sample(4, linear=50, square=0)
    for traffic in smaller.sent:
        traffic.messages = traffic.bytes = Counter({"Offer": 100})
    for traffic in larger.sent:
        traffic.messages = traffic.bytes = Counter({"Offer": 222})
    result = figures([smaller, larger])
    assert (result["growth"]["control_messages"], result["growth"]["control_bytes"]) == (1.15, 1.15)
    assert result["goal"]["control_messages_at_most_linear"]
    assert result["goal"]["control_bytes_at_most_linear"]
    parser = argparse.ArgumentParser()
    SCALE.add_options(parser)
    assert parser.parse_args([]).peers == (2, 4, 8, 16, 32, 64)
    assert parser.parse_args(["--peers", "2,5"]).peers == (2, 5)
    for refused in ("1,2", "4,2", "2,2"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--peers", refused])
        assert "is not allowed" in capsys.readouterr().err


def test_real_sessions_send_the_least_data_and_every_kind_is_counted():
    measured = Swarm(3, 4096).measure(rounds=2, warmup=1)
    messages, octets = (
        sum((getattr(each, what) for each in measured.sent), Counter()) for what in ("messages", "bytes")
    )
    assert messages[STREAM] == 2 * 3 * 2
    assert {"Offer", "Propose", "Ready", "Accept", "Accepted", "Decide"} <= set(messages)
    assert all(octets[kind] > count for kind, count in messages.items())
    result = json.loads(json.dumps(figures([measured])))
    assert result["goal"]["data_flat"]
    assert result["goal"]["control_bytes_at_most_linear"] is None
    assert 1 <= result["sizes"][0]["data_over_bound"] < 1.05
    assert result["sizes"][0]["control_bytes_most"] >= result["sizes"][0]["control_bytes"]


def test_joining_counts_the_greetings_and_the_rounds_do_not():
    measured = Swarm(3, 16).measure(rounds=1, warmup=1)
    joining = figures([measured])["sizes"][0]["joining"]
    assert joining["messages"] >= 2
    assert joining["bytes"] > joining["messages"]
    assert all("Hello" not in each.messages for each in measured.sent)


def test_a_message_counts_as_large_as_it_is_on_the_wire():
    traffic, envelope = Traffic(), Envelope("session", "sender", "incarnation", "address", Leave("a reason"))
    transport = CountingTransport(MemoryNetwork(), traffic)
    transport.send("memory:1", envelope)
    transport.send("memory:2", envelope)
    assert traffic.messages == {"Leave": 2}
    assert traffic.bytes == {"Leave": 2 * len(encode(envelope))}


def test_retransmitted_messages_are_counted_separately():
    traffic, envelope = Traffic(), Envelope("session", "sender", "incarnation", "address", Leave("a reason"))
    traffic.sent("memory:1", envelope)
    before = traffic.copy()
    traffic.sent("memory:1", envelope)
    since = traffic.since(before)
    assert (since.messages.total(), since.repeated) == (0, {"Leave": 1})
    assert since.repeated_bytes == {"Leave": len(encode(envelope))}


def test_what_grows_faster_than_the_peers_is_named():
    result = figures([sample(peers, linear=4, square=1) for peers in (2, 100, 200)])
    assert not result["goal"]["control_messages_at_most_linear"]
    assert result["growth"]["messages_by_kind"] == {"Hello": 2.0, "Offer": 1.0}
    assert "the bytes of Hello, as n^2.0" in table(result)
    assert "Offer" not in table(result)


def test_linear_control_and_flat_data_meet_the_goal():
    result = figures([sample(peers, linear=4, square=0) for peers in (2, 4)])
    assert result["goal"] == {
        "control_messages_at_most_linear": True,
        "control_bytes_at_most_linear": True,
        "data_flat": True,
    }
    assert not figures([sample(2, linear=1, square=0, data=1.2)])["goal"]["data_flat"]


def test_the_command_prints_the_record_of_each_size():
    command = [sys.executable, "-m", "benchmarks.scale", "--json", "--peers", "2,3", "--kib", "4", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["benchmark"], result["model_bytes"], result["rounds"]) == ("scale", 4096, 1)
    assert [size["peers"] for size in result["sizes"]] == [2, 3]

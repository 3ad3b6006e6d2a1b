from __future__ import annotations

import json
from collections import Counter

from benchmarks.scale.run import Sample, Swarm
from benchmarks.scale.summary import record, table
from benchmarks.scale.traffic import STREAM, CountingTransport, Traffic
from swarm.messages import Envelope, Leave
from swarm.transport.grpc.wire import encode
from swarm.transport.memory import MemoryNetwork


def sample(peers: int, *, linear: int, square: int, data: float = 1.0) -> Sample:
    """Rounds in which each peer sends ``linear`` messages a peer, and the square of the peers times ``square``."""
    counts = Counter({"Offer": linear * peers**2, "Hello": square * peers**3})
    model = 1 << 20
    return Sample(
        peers=peers,
        rounds=1,
        model_bytes=model,
        messages=counts,
        bytes=counts,
        repeated=0,
        repeated_bytes=0,
        most_messages=counts.total() // peers,
        most_bytes=counts.total() // peers,
        data=int(2 * (peers - 1) * model),
        most_data=int(data * 2 * (peers - 1) / peers * model),
        cpu_seconds=1.0,
        seconds=1.0,
        joining_messages=peers**2,
        joining_bytes=100 * peers**2,
        joining_seconds=1.0,
    )


def test_real_sessions_send_the_least_data_and_every_kind_is_counted():
    measured = Swarm(3, 4096).measure(rounds=2, warmup=1)
    assert measured.messages[STREAM] == 2 * 3 * 2
    assert {"Offer", "Propose", "Ready", "Accept", "Accepted", "Decide"} <= set(measured.messages)
    assert all(measured.bytes[kind] > count for kind, count in measured.messages.items())
    result = json.loads(json.dumps(record([measured])))
    assert result["goal"]["data_flat"]
    assert result["goal"]["control_bytes_at_most_linear"] is None
    assert 1 <= result["sizes"][0]["data_over_bound"] < 1.05
    assert result["sizes"][0]["control_bytes_most"] >= result["sizes"][0]["control_bytes"]


def test_joining_counts_the_greetings_and_the_rounds_do_not():
    measured = Swarm(3, 16).measure(rounds=1, warmup=1)
    assert measured.joining_messages >= 3 * 2
    assert measured.joining_bytes > measured.joining_messages
    assert "Hello" not in measured.messages


def test_a_message_counts_as_large_as_it_is_on_the_wire():
    traffic, envelope = Traffic(), Envelope("session", "sender", "incarnation", "address", Leave("a reason"))
    transport = CountingTransport(MemoryNetwork(), traffic)
    transport.send("memory:1", envelope)
    transport.send("memory:2", envelope)
    assert traffic.messages == {"Leave": 2}
    assert traffic.bytes == {"Leave": 2 * len(encode(envelope))}


def test_what_is_said_again_counts_apart():
    traffic, envelope = Traffic(), Envelope("session", "sender", "incarnation", "address", Leave("a reason"))
    traffic.sent("memory:1", envelope)
    before = traffic.copy()
    traffic.sent("memory:1", envelope)
    since = traffic.since(before)
    assert (since.messages.total(), since.repeated) == (0, {"Leave": 1})
    assert since.repeated_bytes == {"Leave": len(encode(envelope))}


def test_what_grows_faster_than_the_peers_is_named():
    result = record([sample(peers, linear=4, square=1) for peers in (2, 100, 200)])
    assert not result["goal"]["control_messages_at_most_linear"]
    assert result["growth"]["messages_by_kind"] == {"Hello": 2.0, "Offer": 1.0}
    assert "the bytes of Hello, as n^2.0" in table(result)
    assert "Offer" not in table(result)


def test_linear_control_and_flat_data_meet_the_goal():
    result = record([sample(peers, linear=4, square=0) for peers in (2, 4)])
    assert result["goal"] == {
        "control_messages_at_most_linear": True,
        "control_bytes_at_most_linear": True,
        "data_flat": True,
    }
    assert not record([sample(2, linear=1, square=0, data=1.2)])["goal"]["data_flat"]

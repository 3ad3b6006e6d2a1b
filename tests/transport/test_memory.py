from __future__ import annotations

import threading

import pytest

from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.transport.memory import MemoryNetwork, MemoryTransport


@pytest.fixture
def network():
    return MemoryNetwork()


@pytest.fixture
def nodes(network):
    nodes = [Node(MemoryTransport(network)) for _ in range(3)]
    yield nodes
    for node in nodes:
        node.transport.close(0.0)


def test_a_cut_is_told_on_both_sides_and_leaves_the_others_alone(network, nodes):
    a, b, c = nodes
    for source in nodes:
        for target in nodes:
            source.say(target.address, "hello")
    network.cut(a.address, b.address)
    eventually(lambda: a.handler.lost and b.handler.lost, "both lost each other")
    a.say(c.address, "still here")
    eventually(lambda: "still here" in c.handler.texts, "the third is reached")
    assert [lost for lost, _ in a.handler.lost] == [b.address]
    assert [lost for lost, _ in b.handler.lost] == [a.address]
    assert not c.handler.lost


def test_a_restored_link_lets_messages_through(network, nodes):
    a, b, _ = nodes
    network.cut(a.address, b.address)
    a.say(b.address, "lost")
    eventually(lambda: a.handler.lost, "the loss is told")
    network.restore(a.address, b.address)
    a.say(b.address, "found")
    eventually(lambda: b.handler.texts, "the message arrived")
    assert b.handler.texts == ["found"]


def test_a_killed_node_does_and_is_told_nothing_more(network, nodes):
    a, b, c = nodes
    a.say(b.address, "hello")
    b.say(a.address, "hello")
    eventually(lambda: a.handler.texts and b.handler.texts, "both were heard")
    network.kill(b.address)
    b.say(c.address, "from the dead")
    b.upload(c.address, [[b"x"]])
    eventually(lambda: a.handler.lost, "the killed one is lost")
    a.say(c.address, "alive")
    eventually(lambda: c.handler.texts, "the message arrived")
    assert c.handler.texts == ["alive"]
    assert not c.handler.streams
    assert not b.handler.lost


def test_messages_sent_before_a_kill_arrive_before_the_loss(network, nodes):
    a, b, _ = nodes
    events = []
    b.handler.on_envelope = lambda envelope: events.append(envelope.message.reason)
    b.handler.on_lost = lambda address, _: events.append(address)
    b.say(a.address, "hello")
    for text in ("one", "two"):
        a.say(b.address, text)
    network.kill(a.address)
    eventually(lambda: len(events) == 3, "the loss is told")
    assert events == ["one", "two", a.address]


def test_streams_one_after_the_other_share_a_thread(nodes):
    a, b, _ = nodes
    threads = []
    b.handler.on_frame = lambda _header, _data: threads.append(threading.get_ident())
    for number in range(1, 21):
        assert a.upload(b.address, [[b"x"]], number=number).wait() is None
        eventually(lambda: a.transport.pool._free == 1, "the stream's thread is free again")
    assert len(set(threads)) == 1


def test_a_stream_that_waits_for_its_sender_ends_at_once_for_a_lost_peer(network, nodes):
    a, b, _ = nodes
    waiting = threading.Event()

    def frames():
        yield [b"x"]
        waiting.wait(DEADLINE)
        yield [b"too late"]

    outcome = a.upload(b.address, frames())
    eventually(lambda: b.handler.streams.get(1), "the first frame arrived")
    network.kill(b.address)
    assert "was killed" in outcome.wait()
    waiting.set()
    eventually(lambda: a.transport.pool._free == 1, "the stream's thread is free again")
    assert b.handler.streams == {1: [b"x"]}


def test_a_closed_node_has_no_thread_any_more(nodes):
    def threads(address):  # other networks of this process may use the same names
        return [thread.name for thread in threading.enumerate()].count(address)

    a, b, _ = nodes
    a.say(b.address, "hello")
    of_a, of_b = threads(a.address), threads(b.address)
    a.transport.close()
    assert threads(a.address) == of_a - 1
    assert threads(b.address) == of_b

"""Several sessions of a process at one address: each gets what is meant for it, and nothing else."""

from __future__ import annotations

import os

import pytest

from swarm.errors import AddressError, ExchangeError
from swarm.messages import Envelope, FetchRequest, Leave, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, Node, Outcome, RecordingHandler, eventually
from swarm.testing.transports import TransportContract
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport, fetch_status
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from swarm.transport.shared import PROCESS, SharedAddress


class TestSharedTransport(TransportContract):
    """With one session it is as if the address were not shared."""

    def make(self):
        return SharedAddress().view("session", GrpcTransport(), {})


class Session(Node):
    """What a process holds for one session."""

    def __init__(self, shared, name, transport):
        self.name = name
        super().__init__(shared.view(name, transport, {}))

    def say(self, address, text):
        self.transport.send(address, Envelope(self.name, "sender", "incarnation", "address", Leave(text)))

    def upload(self, address, frames, *, number=1):
        outcome = Outcome()
        header = StreamHeader(self.name, "sender", "incarnation", "lineage", number, Attempt(1, "sender"))
        outcome.upload = self.transport.upload(address, header, iter(frames), outcome.done)
        return outcome

    def fetch(self, address, digest="held", timeout=DEADLINE):
        request = FetchRequest(self.name, "sender", digest)
        return [bytes(frame) for frame in self.transport.fetch(address, request, timeout)]


class Process:
    """Stands for a process: sessions at one address."""

    def __init__(self, make):
        self.shared, self.make, self.sessions = SharedAddress(), make, []

    def begin(self, name):
        self.sessions.append(Session(self.shared, name, self.make()))
        return self.sessions[-1]


def with_data_channels(_network):
    return DataChannelTransport(GrpcTransport(), "127.0.0.1")


@pytest.fixture(params=[MemoryTransport, with_data_channels], ids=["memory", "data channels"])
def process(request):
    network, made = MemoryNetwork(), []

    def start():
        made.append(Process(lambda: request.param(network)))
        return made[-1]

    yield start
    for each in made:
        for session in each.sessions:
            session.transport.close(0.0)


def test_messages_streams_and_fetches_go_to_the_session_that_they_name_in_both_directions(process):
    one, two = process(), process()
    ours, theirs = [[each.begin(name) for name in ("generator", "discriminator")] for each in (one, two)]
    assert ours[0].address == ours[1].address != theirs[0].address == theirs[1].address
    for sources, targets in ((ours, theirs), (theirs, ours)):
        for source, target in zip(sources, targets, strict=True):
            target.handler.served = lambda target=target: [[target.name.encode()]]
            source.say(target.address, source.name)
            assert source.upload(target.address, [[source.name.encode()]]).wait() is None
            assert source.fetch(target.address) == [source.name.encode()]
    for session in (*ours, *theirs):
        eventually(lambda session=session: session.handler.texts, "the message arrived")
        assert session.handler.texts == [session.name]
        assert session.handler.streams == {1: [session.name.encode()]}
        assert session.handler.lost == []


def test_one_that_closes_leaves_the_others_listening_and_the_last_one_closes_the_address(process):
    one, two = process(), process()
    peer, other = one.begin("generator"), one.begin("discriminator")
    generator, discriminator = two.begin("generator"), two.begin("discriminator")
    peer.say(generator.address, "hello")
    other.say(discriminator.address, "hello")
    eventually(lambda: generator.handler.texts, "the message arrived")
    generator.say(peer.address, "on the way")
    generator.transport.close(0.0)
    generator.transport.close(0.0)
    other.say(discriminator.address, "still there?")
    assert other.upload(discriminator.address, [[b"weights"]]).wait() is None
    eventually(lambda: discriminator.handler.texts == ["hello", "still there?"], "the other one goes on")
    discriminator.say(other.address, "yes")
    eventually(lambda: other.handler.texts == ["yes"], "and answers")
    eventually(lambda: peer.handler.texts == ["on the way"], "what the first one had sent arrives")
    assert peer.handler.lost == other.handler.lost == []
    discriminator.transport.close(0.0)
    eventually(lambda: peer.handler.lost and other.handler.lost, "the address is gone")
    assert [place for place, _ in peer.handler.lost + other.handler.lost] == [generator.address] * 2
    assert generator.handler.lost == []


def test_a_closed_session_takes_and_sends_nothing_though_its_address_lives(process):
    one, two = process(), process()
    peer, gone, stays = one.begin("generator"), two.begin("generator"), two.begin("discriminator")
    gone.transport.close(0.0)
    gone.say(peer.address, "too late")
    outcome = gone.upload(peer.address, [[b"too late"]])
    outcome.upload.cancel()
    gone.transport.forget(peer.address)
    reason = peer.upload(gone.address, [[b"x"]]).wait()
    assert "no peer of session 'generator' is here" in reason
    with pytest.raises(ExchangeError, match="no peer of session 'generator' is here"):
        peer.fetch(gone.address)
    stays.transport.send(peer.address, Envelope("generator", "s", "i", "a", Leave("last")))
    eventually(lambda: peer.handler.texts == ["last"], "only what came later")
    assert peer.handler.streams == {}
    assert gone.handler.streams == {}
    assert outcome.reasons == []


def test_a_message_for_a_session_that_is_not_here_goes_to_one_that_is(process):
    """Which answers, so that its sender learns who is there."""
    one, two = process(), process()
    first, second = two.begin("generator"), two.begin("discriminator")
    one.begin("third").say(first.address, "who is there?")
    eventually(lambda: first.handler.texts == ["who is there?"], "the first one gets it")
    assert second.handler.texts == []


def test_who_never_talked_to_a_lost_address_hears_nothing_of_it(process):
    one, two = process(), process()
    talker, other, gone = one.begin("generator"), one.begin("discriminator"), two.begin("generator")
    talker.say(gone.address, "hello")
    eventually(lambda: gone.handler.texts, "it was heard")
    gone.transport.close(0.0)
    eventually(lambda: talker.handler.lost, "the loss is told")
    assert other.handler.lost == []


def test_a_link_is_kept_while_another_session_uses_it(process):
    one, two = process(), process()
    ours = [one.begin(name) for name in ("generator", "discriminator")]
    theirs = [two.begin(name) for name in ("generator", "discriminator")]
    for source, target in zip(ours, theirs, strict=True):
        source.say(target.address, "hello")
    eventually(lambda: all(each.handler.texts for each in theirs), "both were heard")
    ours[0].transport.forget(theirs[0].address)
    for each in theirs:
        each.transport.close(0.0)
    eventually(lambda: ours[1].handler.lost, "the loss is told to the one that did not forget")
    assert ours[0].handler.lost == []


def test_an_address_that_all_have_forgotten_is_not_reported(process):
    one, two, three = process(), process(), process()
    ours = [one.begin(name) for name in ("generator", "discriminator")]
    gone, watched = two.begin("generator"), three.begin("generator")
    for each in ours:
        each.say(gone.address, "hello")
    eventually(lambda: len(gone.handler.texts) == 2, "both were heard")
    ours[0].say(watched.address, "hello")
    for each in ours:
        each.transport.forget(gone.address)
    gone.transport.close(0.0)
    eventually(lambda: watched.handler.texts, "the other one was heard")
    watched.transport.close(0.0)
    eventually(lambda: ours[0].handler.lost, "the other one is lost")
    assert [address for address, _ in ours[0].handler.lost] == [watched.address]
    assert ours[1].handler.lost == []


class Spy(MemoryTransport):
    """Tells what it was asked to forget."""

    forgotten: tuple[str, ...] = ()

    def forget(self, address):
        self.forgotten += (address,)
        super().forget(address)


def test_what_one_session_alone_has_used_is_forgotten_when_it_forgets_or_closes():
    network = MemoryNetwork()
    spy, there = Spy(network), Node(MemoryTransport(network))
    process = Process(lambda: spy)
    uploader, sender, idle = (process.begin(name) for name in ("uploader", "sender", "idle"))
    assert uploader.upload(there.address, [[b"x"]]).wait() is None
    idle.transport.forget(there.address)
    sender.transport.forget(there.address)
    assert spy.forgotten == ()
    uploader.transport.forget(there.address)
    assert spy.forgotten == (there.address,)
    for each in (sender, uploader):
        each.say(there.address, "hello")
    uploader.transport.forget(there.address)
    uploader.transport.forget(there.address)
    assert spy.forgotten == (there.address,)
    sender.transport.close(0.0)
    assert spy.forgotten == (there.address,) * 2
    for each in (uploader, idle, there):
        each.transport.close(0.0)


def test_a_process_that_has_closed_its_address_may_listen_at_another(process):
    here = process()
    here.begin("generator").transport.close(0.0)
    peer, later = process().begin("generator"), here.begin("generator")
    peer.say(later.address, "hello")
    eventually(lambda: later.handler.texts == ["hello"], "it arrives")


def test_a_session_that_cannot_listen_is_not_in_the_way_of_the_next():
    shared, used = SharedAddress(), Node(GrpcTransport())
    failed = shared.view("generator", GrpcTransport(used.address), {"listen": used.address})
    with pytest.raises(AddressError, match="cannot listen on"):
        failed.start(RecordingHandler())
    failed.close(0.0)
    second = shared.view("generator", GrpcTransport(), {"listen": "127.0.0.1:0"})
    assert second.start(RecordingHandler())
    second.close(0.0)
    used.transport.close(0.0)


def test_the_status_of_an_address_is_that_of_all_its_sessions():
    process = Process(GrpcTransport)
    first = process.begin("generator")
    assert fetch_status(first.address) == {"name": "recorder", "received": 0}
    second = process.begin("discriminator")
    first.say(first.address, "hello")
    eventually(lambda: first.handler.texts, "the message arrived")
    assert fetch_status(first.address) == {
        "sessions": [{"name": "recorder", "received": 1}, {"name": "recorder", "received": 0}]
    }
    first.transport.close(0.0)
    assert fetch_status(second.address) == {"name": "recorder", "received": 0}
    second.transport.close(0.0)


def test_a_forked_child_shares_no_address_with_its_parent():
    parent = PROCESS.view("generator", MemoryTransport(MemoryNetwork()), {"listen": "a"})
    parent.start(RecordingHandler())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            PROCESS.view("generator", MemoryTransport(MemoryNetwork()), {"listen": "b"}).start(RecordingHandler())
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    parent.close(0.0)

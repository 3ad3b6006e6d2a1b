"""The contract of a transport that reaches peers to which nobody can connect, over connections that these have opened.

    class TestMyTransport(OneWayContract):
        def make(self):
            return MyTransport(...)

        def make_one_way(self):
            return MyTransport(...)

A transport that does not claim this does not inherit it.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING

import pytest

from swarm.errors import ExchangeError
from swarm.testing.messaging import NodeContract
from swarm.testing.nodes import Node, eventually
from swarm.testing.wording import broken, raises, shown
from swarm.transport.base import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Transport

MIB = 2**20
GIVEN = "a node to which nobody can connect, and another one to which it has sent a message"


class OneWayContract(NodeContract):
    """Whoever can connect does so, and then both sides have all that a transport carries."""

    @abstractmethod
    def make_one_way(self) -> Transport:
        """A new transport, not yet started, to which nobody can connect at the address that it tells."""

    @pytest.fixture
    def one_way(self) -> Iterator[Callable[[], Node]]:
        """Makes nodes to which nobody can connect; they are closed after the test."""
        nodes: list[Node] = []

        def make() -> Node:
            nodes.append(Node(self.make_one_way()))
            return nodes[-1]

        yield make
        for each in nodes:
            each.transport.close(0.0)

    @pytest.fixture
    def pair(self, one_way: Callable[[], Node], node: Callable[[], Node]) -> tuple[Node, Node]:
        """A node to which nobody can connect, and another one to which it has sent a message."""
        shut, opened = one_way(), node()
        shut.say(opened.address, "hello")
        eventually(lambda: opened.handler.texts, "the one to which nobody can connect was heard")
        return shut, opened

    def test_messages_arrive_in_order_both_ways(self, pair: tuple[Node, Node]) -> None:
        shut, opened = pair
        texts = [str(number) for number in range(300)]
        for text in texts:
            opened.say(shut.address, text)
            shut.say(opened.address, text)
        eventually(lambda: len(shut.handler.texts) == 300 and len(opened.handler.texts) == 301, "all messages arrived")
        assert (shut.handler.texts, opened.handler.texts) == (texts, ["hello", *texts]), broken(
            "Messages arrive once each, in order, in both directions.",
            given=GIVEN,
            got=shown((shut.handler.texts, opened.handler.texts)),
            do="send what is for the first node over a connection that it has opened",
        )
        assert not shut.handler.lost + opened.handler.lost, broken(
            "A peer that is reached over a connection of its own is not reported as lost.",
            given=GIVEN,
            got=shown(shut.handler.lost + opened.handler.lost),
            do="call Handler.on_lost only where sending failed",
        )

    def test_weights_travel_both_ways_at_once(self, pair: tuple[Node, Node]) -> None:
        frames = [[bytes([number]) * MAX_FRAME_BYTES] for number in range(4)]
        shut, opened = pair
        outcomes = [
            source.upload(target.address, frames, number=number)
            for number in (1, 2)
            for source, target in ((shut, opened), (opened, shut))
        ]
        reasons = [outcome.wait() for outcome in outcomes]
        assert reasons == [None] * 4, broken(
            "Uploads succeed in both directions, several at once.",
            given=GIVEN,
            got=shown(reasons),
            do="give each upload a stream of its own, whoever has opened the connection",
        )
        for target in pair:
            assert target.handler.streams == {number: [frame[0] for frame in frames] for number in (1, 2)}, broken(
                "Frames arrive whole and in order.",
                given=GIVEN,
                got=f"{len(target.handler.streams)} streams with other bytes",
                do="give each upload a stream of its own",
            )

    def test_a_refused_upload_tells_why(self, pair: tuple[Node, Node]) -> None:
        shut, opened = pair
        shut.handler.refusal = "no such attempt"
        reason = opened.upload(shut.address, ([bytes(MIB)] for _ in range(64))).wait()
        assert reason, broken(
            "A refused upload fails.",
            given=f"{GIVEN}; the first refuses streams",
            got="success",
            do="tell the sender what open_sink() raised",
        )
        assert "no such attempt" in reason, broken(
            "The reason is that of the one who refuses.",
            given=f"{GIVEN}; the first refuses streams",
            got=shown(reason),
            do="tell the sender what open_sink() raised",
        )
        shut.handler.refusal = None
        reason = opened.upload(shut.address, [[b"taken"]], number=2).wait()
        assert reason is None, broken(
            "An upload after a refused one succeeds.",
            given=f"{GIVEN}; the first has refused a stream",
            got=shown(reason),
            do="give each upload a stream of its own",
        )

    def test_an_upload_can_be_cancelled(self, pair: tuple[Node, Node]) -> None:
        shut, opened = pair
        arrived, read = threading.Event(), 0
        shut.handler.on_frame = lambda *_: arrived.set()

        def endless() -> Iterator[list[bytes]]:
            nonlocal read
            while True:
                read += 1
                yield [bytes(MIB)]

        outcome = opened.upload(shut.address, endless())
        eventually(arrived.is_set, "a frame arrived")
        outcome.upload.cancel()
        before = read
        reason = opened.upload(shut.address, [[b"the next"]], number=2).wait()
        assert reason is None, broken(
            "An upload after a cancelled one succeeds.",
            given=GIVEN,
            got=shown(reason),
            do="give each upload a stream of its own",
        )
        assert (read, outcome.reasons) == (before, []), broken(
            "A cancelled upload reads no frame any more, and calls done no more.",
            given=GIVEN,
            got=shown((read - before, outcome.reasons)),
            do="stop reading the frames before cancel() returns",
        )

    def test_models_are_fetched_both_ways(self, pair: tuple[Node, Node]) -> None:
        for source, target in (pair, pair[::-1]):
            target.handler.served = lambda: ([bytes([number]) * MIB, b"end"] for number in range(20))
            frames = source.fetch(target.address)
            assert frames == [bytes([number]) * MIB + b"end" for number in range(20)], broken(
                "fetch() yields the frames that are served, joined and in order.",
                given=GIVEN,
                got=f"{len(frames)} frames, {sum(map(len, frames))} bytes",
                do="serve a download over the connection of whoever can connect",
            )
            with raises(
                ExchangeError,
                "What is not held is refused with the text of the other side.",
                given=f"{GIVEN}; a fetch of a digest that the other one does not hold",
                do="raise ExchangeError with the text that serve() raised",
                saying=("does not hold 'other'",),
            ):
                source.fetch(target.address, "other")

    def test_each_is_lost_once_to_the_other(self, pair: tuple[Node, Node], node: Callable[[], Node]) -> None:
        shut, opened = pair
        third = node()
        opened.say(shut.address, "hello")
        shut.say(third.address, "hello")
        eventually(lambda: shut.handler.texts and third.handler.texts, "both were heard")
        third.say(shut.address, "hello")
        eventually(lambda: len(shut.handler.texts) == 2, "the third was heard")
        self.kill(opened)
        eventually(lambda: shut.handler.lost, "the one to which nobody can connect loses the other")
        third.say(shut.address, "still here")
        eventually(lambda: len(shut.handler.texts) == 3, "the third still talks")
        self.kill(shut)
        eventually(lambda: third.handler.lost, "the third loses the one to which nobody can connect")
        lost = [address for each in (shut, third) for address, _ in each.handler.lost]
        assert lost == [opened.address, shut.address], broken(
            "A peer that is gone is reported once by each node that talked to it, and no other is reported.",
            given="a node to which nobody can connect, and two others; one of these is killed, then the first",
            got=shown(lost),
            do="report the end of the connections over which a peer was reached as its loss",
        )

    def test_it_can_be_reached_again_once_it_has_connected_again(self, pair: tuple[Node, Node]) -> None:
        shut, opened = pair
        opened.say(shut.address, "one")
        eventually(lambda: shut.handler.texts, "the first arrived")
        shut.transport.forget(opened.address)
        eventually(lambda: opened.handler.lost, "its connections have ended")
        shut.say(opened.address, "again")
        eventually(lambda: len(opened.handler.texts) == 2, "it has connected again")
        opened.say(shut.address, "two")
        eventually(lambda: len(shut.handler.texts) == 2, "the second arrived")

    def test_two_to_which_nobody_can_connect_are_told_so(
        self, one_way: Callable[[], Node], pair: tuple[Node, Node]
    ) -> None:
        shut, opened = pair
        other = one_way()
        other.say(opened.address, "hello")
        eventually(lambda: len(opened.handler.texts) == 2, "the other one was heard")
        shut.say(other.address, "is anybody there?")
        eventually(lambda: shut.handler.lost, "the loss is told")
        ((address, reason),) = shut.handler.lost
        assert address == other.address, broken(
            "The loss names the address as it was given.",
            given="two nodes to which nobody can connect",
            got=shown(address),
            do="call Handler.on_lost with the address of the other one",
        )
        assert "accept no connection" in reason, broken(
            "The reason says that neither can connect to the other.",
            given="two nodes to which nobody can connect",
            got=shown(reason),
            do="say so, and what can be done, where both are known to accept no connection",
        )

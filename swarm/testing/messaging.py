"""The part of the contract of a transport that is about messages, and how its tests make nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import pytest

from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.testing.wording import broken, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Transport


class NodeContract(ABC):
    """How the tests of a transport make nodes."""

    @abstractmethod
    def make(self) -> Transport:
        """A new transport, not yet started."""

    def kill(self, node: Node) -> None:
        """End ``node`` without a farewell, as far as that can be done here."""
        node.transport.close(0.0)

    @pytest.fixture
    def node(self) -> Iterator[Callable[[], Node]]:
        """Makes nodes that are closed after the test."""
        nodes: list[Node] = []

        def make() -> Node:
            nodes.append(Node(self.make()))
            return nodes[-1]

        yield make
        for each in nodes:
            each.transport.close(0.0)


class MessageContract(NodeContract):
    """Messages arrive in order, and who is lost is reported once."""

    def test_messages_arrive_in_order(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        texts = [str(number) for number in range(500)]
        for text in texts:
            a.say(b.address, text)
        eventually(lambda: len(b.handler.texts) >= 500, "all messages arrived")
        assert b.handler.texts == texts, broken(
            "Messages to one address arrive once each, in the order in which they were sent.",
            given="500 messages to one address",
            got=shown(b.handler.texts),
            do="queue messages per address, and send them one after the other",
        )

    def test_every_node_reaches_every_other(self, node: Callable[[], Node]) -> None:
        nodes = [node() for _ in range(4)]
        for source in nodes:
            for target in nodes:
                if source is not target:
                    source.say(target.address, source.address)
        for target in nodes:
            texts = target.handler.texts
            eventually(partial(lambda heard: len(heard) == 3, texts), "three others were heard")
            assert sorted(texts) == sorted(each.address for each in nodes if each is not target), broken(
                "Each node gets one message of every other node.",
                given="four nodes, each of which writes to the other three",
                got=shown(texts),
                do="deliver a message to the address that it was sent to, and to no other",
            )
        assert not any(each.handler.lost for each in nodes), broken(
            "A peer that can be reached is not reported as lost.",
            given="four nodes, each of which writes to the other three",
            got=shown([each.handler.lost for each in nodes]),
            do="call Handler.on_lost only where sending failed",
        )

    def test_an_unknown_address_is_lost_with_a_reason(self, node: Callable[[], Node]) -> None:
        a, gone = node(), node()
        gone.transport.close(0.0)
        for address in (gone.address, "no address"):
            a.say(address, "is anybody there?")
            eventually(lambda: a.handler.lost, "the loss is told")
            lost, reason = a.handler.lost.pop()
            assert lost == address, broken(
                "The loss names the address as it was given.",
                given="a message to a closed node and to a text that is no address",
                got=shown(lost),
                do="call Handler.on_lost once for a peer that was talked to, with its address and a reason",
            )
            assert reason, broken(
                "The loss comes with a reason.",
                given="a message to a closed node and to a text that is no address",
                got=shown(reason),
                do="call Handler.on_lost once for a peer that was talked to, with its address and a reason",
            )

    def test_a_closed_peer_is_lost_once_by_those_who_talk_to_it(self, node: Callable[[], Node]) -> None:
        a, b, c, stranger = node(), node(), node(), node()
        for source in (a, b):
            source.say(c.address, "hello")
            source.say(stranger.address, "hello")
        eventually(lambda: len(c.handler.texts) == 2 and len(stranger.handler.texts) == 2, "both were heard")
        self.kill(c)
        eventually(lambda: a.handler.lost and b.handler.lost, "both lost the third")
        for source in (a, b):
            source.say(stranger.address, "still here")
        eventually(lambda: len(stranger.handler.texts) == 4, "the others still talk")
        assert [address for address, _ in a.handler.lost + b.handler.lost] == [c.address, c.address], broken(
            "A peer that is gone is reported once by each node that talked to it, and no other is reported.",
            given="two nodes that talk to a third, which is killed, and to a fourth",
            got=shown(a.handler.lost + b.handler.lost),
            do="call Handler.on_lost once for a peer that was talked to, with its address and a reason",
        )
        assert not stranger.handler.lost, broken(
            "A node that lost nobody reports nothing.",
            given="two nodes that talk to a third, which is killed, and to a fourth",
            got=shown(stranger.handler.lost),
            do="call Handler.on_lost once for a peer that was talked to, with its address and a reason",
        )

    def test_a_forgotten_address_is_not_reported(self, node: Callable[[], Node]) -> None:
        a, b, c = node(), node(), node()
        for target in (b, c):
            a.say(target.address, "hello")
        eventually(lambda: b.handler.texts and c.handler.texts, "both were heard")
        a.transport.forget(b.address)
        b.transport.close(0.0)
        c.transport.close(0.0)
        eventually(lambda: a.handler.lost, "the other one is lost")
        assert [address for address, _ in a.handler.lost] == [c.address], broken(
            "An address that was forgotten is not reported as lost, the other one is.",
            given="a node that talked to two others and has forgotten one; both close",
            got=shown(a.handler.lost),
            do="drop what is known of an address in forget()",
        )

    def test_a_forgotten_address_can_be_sent_to_again(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        a.say(b.address, "one")
        eventually(lambda: b.handler.texts, "the first arrived")
        a.transport.forget(b.address)
        a.say(b.address, "two")
        eventually(lambda: len(b.handler.texts) == 2, "the second arrived")
        assert b.handler.texts == ["one", "two"], broken(
            "An address that was forgotten can be sent to again.",
            given="a message, forget(), and a second message to the same address",
            got=shown(b.handler.texts),
            do="connect anew for a message after forget()",
        )

    def test_closing_sends_what_is_queued(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        for number in range(200):
            a.say(b.address, str(number))
        a.transport.close(DEADLINE)
        eventually(lambda: len(b.handler.texts) == 200, "all messages arrived")

    def test_closing_twice_and_using_a_closed_transport_is_harmless(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        a.transport.close()
        a.transport.close()
        a.say(b.address, "too late")
        a.upload(b.address, [[b"too late"]]).upload.cancel()
        a.transport.forget(b.address)
        b.say(a.address, "hello")
        eventually(lambda: b.handler.lost, "the closed one is lost")
        assert not b.handler.texts, broken(
            "A closed transport sends no message.",
            given="a transport that was closed twice and is used again",
            got=shown(b.handler.texts),
            do="drop messages after close()",
        )
        assert not b.handler.streams, broken(
            "A closed transport opens no stream.",
            given="a transport that was closed twice and is used again",
            got=shown(b.handler.streams),
            do="end an upload at once after close()",
        )
        assert not a.handler.lost, broken(
            "A closed transport reports nothing to its handler.",
            given="a transport that was closed twice and is used again",
            got=shown(a.handler.lost),
            do="call no handler after close()",
        )

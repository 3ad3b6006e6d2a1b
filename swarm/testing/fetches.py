"""The part of the contract of a transport that is about fetching what a peer serves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError, SwarmError, UnreachablePeerError
from swarm.messages import FetchRequest
from swarm.testing.messaging import NodeContract
from swarm.testing.nodes import DEADLINE, Node
from swarm.testing.wording import broken, raises, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame

MIB = 2**20


class FetchContract(NodeContract):
    """What is served arrives, and every fetch has an end."""

    def test_fetch_yields_what_is_served(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.served = lambda: ([bytes([number]) * MIB, b"end"] for number in range(40))
        frames = a.fetch(b.address)
        assert frames == [bytes([number]) * MIB + b"end" for number in range(40)], broken(
            "fetch() yields the frames that are served, joined and in order.",
            given="a node that serves 40 frames of more than 1 MiB",
            got=f"{len(frames)} frames, {sum(map(len, frames))} bytes",
            do="join the parts of each frame",
        )

    def test_fetch_tells_what_is_not_held(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        with raises(
            ExchangeError,
            "What is not held is refused with the text of the other side.",
            given="a fetch of a digest that the other node does not hold",
            do="raise ExchangeError with the text that serve() raised",
            saying=("does not hold 'other'",),
        ):
            a.fetch(b.address, "other")

    def test_fetch_fails_when_serving_does(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()

        def served() -> Iterator[Frame]:
            yield [b"first"]
            raise RuntimeError("the model is gone")

        b.handler.served = served
        with raises(
            SwarmError,
            "A fetch whose serving fails ends at once, and says that the other side failed.",
            given="a node whose serve() raises RuntimeError after the first frame",
            do="tell the one who fetches, without the text of the error",
            saying=("failed",),
        ):
            a.fetch(b.address, timeout=2.0)

    def test_fetch_from_nobody(self, node: Callable[[], Node]) -> None:
        a, gone = node(), node()
        gone.transport.close(0.0)
        for address in (gone.address, "no address"):
            with raises(
                UnreachablePeerError,
                "A fetch from nobody raises UnreachablePeerError.",
                given="a fetch from a closed node or from a text that is no address",
                do="raise UnreachablePeerError where no connection can be made",
            ):
                a.fetch(address)
        assert not a.handler.lost, broken(
            "Nobody is reported as lost because of a fetch.",
            given="a fetch from a closed node and from a text that is no address",
            got=shown(a.handler.lost),
            do="raise UnreachablePeerError, and leave on_lost to messages",
        )

    def test_fetch_does_not_wait_for_ever(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        released = threading.Event()

        def served() -> Iterator[Frame]:
            released.wait(DEADLINE)
            yield [b"late"]

        b.handler.served = served
        with raises(
            UnreachablePeerError,
            "A fetch ends at its timeout.",
            given="a node that serves nothing for a long time, and a timeout of 0.1 s",
            do="raise UnreachablePeerError once timeout has passed",
        ):
            a.fetch(b.address, timeout=0.1)
        released.set()

    def test_fetch_fails_when_the_peer_is_lost(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.served = lambda: iter(lambda: [bytes(MIB)], None)
        frames = a.transport.fetch(b.address, FetchRequest("session", "sender", "held"), DEADLINE)
        assert len(next(iter(frames))) == MIB, broken(
            "The first frame comes at once.",
            given="a fetch from a node that serves endless frames and is killed",
            got="another frame",
            do="yield frames as they come",
        )
        self.kill(b)
        with raises(
            UnreachablePeerError,
            "A fetch fails when the peer is lost.",
            given="a fetch from a node that is killed after its first frame",
            do="raise UnreachablePeerError where the connection breaks",
        ):
            for _ in frames:
                pass

    def test_a_fetch_may_be_left_early(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        ended = threading.Event()

        def served() -> Iterator[Frame]:
            try:
                while True:
                    yield [bytes(MIB)]
            finally:
                ended.set()

        b.handler.served = served
        frames = a.transport.fetch(b.address, FetchRequest("session", "sender", "held"), DEADLINE)
        next(iter(frames))
        del frames
        assert ended.wait(DEADLINE), broken(
            "The server's iterator is closed once nobody reads it.",
            given="a fetch that is dropped after its first frame",
            got="it runs on",
            do="cancel the call when the iterator is closed or collected, and close what serve() gave",
        )

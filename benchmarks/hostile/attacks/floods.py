"""Many messages, messages in another's name, and a peer that comes and goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from benchmarks.hostile.attack import Attacks, repeats
from benchmarks.hostile.liar import SESSION, Habit, Liar
from swarm.messages import MAX_ROSTER, Decide, Hello, Leave, Offer
from swarm.records import PeerInfo

if TYPE_CHECKING:
    from swarm.messages import Envelope, Message
    from swarm.records import PeerId

ATTACKS = Attacks()
MANY = 20
"""Messages to each peer, twenty times a second."""
REMEMBERED = 64
"""Messages that are repeated, and others that are not old enough."""


class Greeter(Habit):
    """Greets again and again."""

    many = MANY

    def acts(self) -> None:
        hello = self.liar.hello
        if hello is not None:
            self.liar.tell(self.liar.others, *(self.greeting(hello) for _ in range(self.many)))

    def greeting(self, hello: Hello) -> Hello:
        """What it says."""
        return replace(hello, wants_reply=True)


@ATTACKS.add("flood: greetings", "greets again and again and wants an answer", "greetings")
class Greetings(Greeter):
    """The same each time."""


@ATTACKS.add("flood: invented peers", "tells of many peers that do not exist", "greetings", "gossip")
class Inventor(Greeter):
    """A roster of other ones in each greeting."""

    many = 2

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._number = count()

    def greeting(self, hello: Hello) -> Hello:
        roster = tuple(
            PeerInfo(name=f"nobody-{number}", incarnation="1", address=f"nobody-{number}@127.0.0.1:9", session=SESSION)
            for number in islice(self._number, MAX_ROSTER)
        )
        return replace(hello, roster=roster)


@ATTACKS.add(
    "greeting: another key",
    "greets and offers with a key that its certificate does not vouch for",
    "joining",
    "offers",
)
class OtherKey(Greeter):
    """The certificate is its own, and its proof is for another key."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._other = Liar()

    def greeting(self, hello: Hello) -> Hello:
        return replace(hello, credential=hello.credential and replace(hello.credential, key=self._other.signer.key))

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        yield self._other.signed(message) if isinstance(message, Offer) else message


@ATTACKS.add("replay", "repeats what it has said in earlier rounds", "rounds", breaks=False)
class Replayer(Habit):
    """All of it, again and again."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._said: deque[tuple[PeerId, Message]] = deque(maxlen=REMEMBERED)

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        yield message
        self._said.append((to, message))

    def acts(self) -> None:
        for to, message in [*self._said][: REMEMBERED // 2]:
            self.liar.tell((to,), message)


@ATTACKS.add("name: leave", "says in the name of an honest peer that it leaves", "names", sizes=(3, 4, 5))
@repeats
def _leaves(liar: Liar) -> None:
    _as_victim(liar, Leave("training is over"))


def _as_victim(liar: Liar, message: Message) -> None:
    """Send others a message in the name of an honest peer, as it would send it."""
    heard = liar.heard.get(liar.victim)
    if heard is not None:
        others = [peer for peer in liar.others if peer != liar.victim]
        fields = {"sender": heard.sender, "incarnation": heard.incarnation, "address": heard.address}
        liar.tell(others, message, **fields)


@ATTACKS.add(
    "comes and goes",
    "leaves and returns after each round, and does not offer",
    "returns",
    "greetings",
    breaks=False,
    rounds=4,
)
class Restless(Habit):
    """So each round has to find out that it does not offer."""

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if not isinstance(message, Offer):
            yield message

    def hears(self, envelope: Envelope) -> None:
        if isinstance(envelope.message, Decide) and self.liar.hello is not None:
            self.liar.tell(self.liar.others, Leave("it comes back"), self.liar.hello)

"""Attacks on the start of a training, from the first message on, and on its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.hostile.attack import Attacks
from benchmarks.hostile.liar import LIAR, Habit, Liar
from swarm.messages import Accepted, Hello, Prepare, Promise, Propose, Ready, Refuse, TensorLine
from swarm.records import Attempt

if TYPE_CHECKING:
    from swarm.messages import Message
    from swarm.records import PeerId

ATTACKS = Attacks()
MANY = 5
"""Messages to each peer, twenty times a second."""


class BeforeFounding(Habit):
    """Attacks until there is a model of the session; then it is honest."""

    @property
    def early(self) -> bool:
        """Whether there is none yet."""
        return self.liar.session is None or self.liar.session.commit is None


@ATTACKS.add(
    "start: silent founder",
    "greets, and says nothing else before the first round",
    at="start",
    breaks=False,
    stops="a peer that has to propose the first round and does not is left out for a while",
    sizes=(3, 4, 5),
)
class SilentFounder(BeforeFounding):
    """It is met, and proposes and answers nothing."""

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if isinstance(message, Hello) or not self.early:
            yield message


@ATTACKS.add(
    "start: storm",
    "proposes the first round, and asks for promises to it, again and again with other attempts",
    at="start",
    stops="a peer that proposes the first round again and again is left out for a while",
    sizes=(3, 4, 5),
)
class Storm(BeforeFounding):
    """Each in a lineage and an attempt of its own."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._number = count(1)

    def acts(self) -> None:
        proposal = self.liar.proposal
        if not self.early or self.liar.hello is None:
            return
        for _ in range(MANY):
            number = next(self._number)
            attempt, lineage = Attempt(number, LIAR), f"{number:032x}"
            self.liar.tell(self.liar.others, Prepare(lineage, 0, attempt))
            if proposal is not None:
                self.liar.tell(self.liar.others, Propose(replace(proposal, lineage=lineage, attempt=attempt)))


@ATTACKS.add(
    "start: refuses names",
    "answers each peer that its name is in use",
    at="start",
    stops="one peer's word about a name does not end the start of another",
    sizes=(3, 4, 5),
)
class RefusesNames(BeforeFounding):
    """It refuses each of them for good."""

    def acts(self) -> None:
        if self.early:
            self.liar.tell(self.liar.others, Refuse("the name is in use", final=True, about_name=True))


@ATTACKS.add(
    "start: false schema",
    "greets with another model than the others have",
    at="start",
    stops="a peer with another model is refused, and the others start without it",
    sizes=(3, 4, 5),
)
class FalseSchema(Habit):
    """It describes it truly, as that of a peer that has another one."""

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if not isinstance(message, Hello):
            yield message
            return
        lines = (TensorLine("other", (3,), "float32", "weight"),)
        yield replace(message, schema=lines, peer=replace(message.peer, fingerprint="f" * 32))


@ATTACKS.add(
    "end: trains on",
    "has not finished when the others have, and trains on",
    "end of training",
    at="end",
    breaks=False,
    sizes=(3, 4, 5),
)
class TrainsOn(Habit):
    """It does what a slow site does, for as long as it likes."""

    trains_on = True

    def acts(self) -> None:
        self.liar.lies += 1


class Closing(Habit):
    """Keeps something back in the closing round; in the others it is honest."""

    keeps: type | tuple[type, ...] = ()

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        proposal = self.liar.proposal
        if not (isinstance(message, self.keeps) and proposal and proposal.closing):
            yield message


@ATTACKS.add(
    "end: no vote", "does not vote for the closing round", "majorities", at="end", breaks=False, sizes=(3, 4, 5)
)
class NoVote(Closing):
    """It takes part in it else."""

    keeps = Accepted, Promise


@ATTACKS.add(
    "end: never ready",
    "never says that it is ready in the closing round",
    at="end",
    stops="who does not become ready in many attempts counts as gone, and the session ends without it",
    breaks=False,
    sizes=(3, 4, 5),
)
class NeverReady(Closing):
    """The others have to find out."""

    keeps = Ready

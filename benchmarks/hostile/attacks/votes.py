"""Answers that are missing, false, or in the name of others; false accusations; duels for the lead."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.hostile.attack import Attacks, changes, repeats
from benchmarks.hostile.liar import LIAR, Habit, Liar
from swarm.messages import Abort, Accepted, Decide, Failed, Nack, PartialNorm, Prepare, Promise, Propose, Ready
from swarm.records import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.messages import Envelope, Message, Proposal
    from swarm.records import PeerId

ATTACKS = Attacks()
OTHER = "f" * 32
"""A digest of nothing."""
LARGEST = 2**31 - 1


def _drops(*kinds: type) -> Callable[[Liar], Habit]:
    return changes(kinds, lambda *_: ())


ATTACKS.add("vote: never", "accepts nothing and promises nothing", "majorities", breaks=False)(
    _drops(Accepted, Promise)
)
ATTACKS.add("vote: unsigned", "does not sign what it accepts", "signatures of votes")(
    changes(Accepted, lambda _, __, message: replace(message, signature="0" * 128))
)
ATTACKS.add("decision: withheld", "leads, and does not tell what was decided", "failover")(_drops(Decide))
ATTACKS.add("lead: never", "does not act when it is the leader", "failover")(_drops(Propose, Prepare))
ATTACKS.add("ready: never", "never says that it is ready", "readiness deadline")(_drops(Ready))
ATTACKS.add("ready: unsigned", "does not sign that it is ready", "signatures of readiness")(
    changes(Ready, lambda _, __, message: replace(message, signature="0" * 128))
)
ATTACKS.add("ready: another digest", "says that it holds another model", "strikes")(
    changes(Ready, lambda liar, _, message: liar.ready(message, OTHER))
)
ATTACKS.add("ready: no norms", "does not tell how far others have moved", "measurements", sizes=(3, 4, 5))(
    changes(Ready, lambda _, __, message: replace(message, norms=()))
)
ATTACKS.add("ready: norms are NaN", "tells that others have moved by NaN", "ranges", "measurements")(
    changes(Ready, lambda _, __, message: replace(message, norms=_norms(message, math.nan)))
)
ATTACKS.add(
    "ready: norms of others",
    "tells that the others have moved much further than they have",
    unnamed="nobody can tell it from a false offer",
    known="an owner that overstates a norm causes that contribution to be left out",
)(changes(Ready, lambda _, __, message: replace(message, norms=_norms(message, 1e6))))


def _norms(message: Ready, squared: float) -> tuple[PartialNorm, ...]:
    return tuple(PartialNorm(each.peer, each.squared if each.peer == LIAR else squared) for each in message.norms)


@ATTACKS.add(
    "ready: blames a slice",
    "says that the slice of an honest peer is wrong",
    "both count",
    sizes=(3, 4, 5),
    bites_at=4,
    rounds=8,
)
@lambda change: changes(Ready, change)
def _slice(liar: Liar, _: PeerId, message: Ready) -> Message:
    proposal = liar.proposal
    group = proposal.group if proposal else ()
    if liar.victim not in group:
        return message
    slices = tuple(OTHER if peer == liar.victim else each for peer, each in zip(group, message.slices, strict=False))
    return replace(liar.ready(message, OTHER), slices=slices)


class Accuser(Habit):
    """Says to all that an attempt has failed, where it should say that it is ready."""

    rejects = False

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        blamed = self.blames(message) if isinstance(message, Ready) else ""
        if not blamed:
            yield message
            return
        key = message.lineage, message.round, message.attempt
        failed = Failed(*key, blamed, "it is at fault", rejects=self.rejects)
        self.liar.tell(self.liar.others, failed)

    def blames(self, message: Ready) -> PeerId:
        """Whom; empty if nobody."""
        del message
        proposal = self.liar.proposal
        return self.liar.victim if proposal and self.liar.victim in proposal.group else ""


@ATTACKS.add(
    "blame: an honest peer",
    "says of each attempt with an honest peer that it fails because of it",
    "both count",
    bites_at=4,
    rounds=8,
)
class OneBlamed(Accuser):
    """Always the same."""


@ATTACKS.add("blame: in turns", "says of each attempt that it fails, each time because of another peer", "both count")
class AllBlamed(Accuser):
    """Another one each time."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._number = count()

    def blames(self, message: Ready) -> PeerId:
        return self.liar.others[next(self._number) % len(self.liar.others)]


@ATTACKS.add("blame: itself", "says of each attempt that it fails because of itself", "pauses", breaks=False)
class SelfBlamed(Accuser):
    """Its own name."""

    def blames(self, message: Ready) -> PeerId:
        return LIAR


@ATTACKS.add("blame: a stranger", "says of each attempt that it fails because of a peer that nobody knows", "pauses")
class StrangerBlamed(Accuser):
    """The name of nobody."""

    def blames(self, message: Ready) -> PeerId:
        return "nobody"


@ATTACKS.add("blame: proposals", "rejects each proposal of an honest leader", "rejections")
class Rejecter(Accuser):
    """As if the leader lied."""

    rejects = True

    def blames(self, message: Ready) -> PeerId:
        return message.attempt.leader


class Answerer(Habit):
    """Answers each proposal of an honest leader at once."""

    def hears(self, envelope: Envelope) -> None:
        message = envelope.message
        if isinstance(message, Propose):
            self.answer(message.proposal)

    def answer(self, proposal: Proposal) -> None:
        """A proposal has come."""


@ATTACKS.add("nack: each proposal", "says of each attempt that it has promised a higher one", "strikes")
class Nacker(Answerer):
    """A higher attempt of its own."""

    def answer(self, proposal: Proposal) -> None:
        promised = Attempt(proposal.attempt.counter + 1, LIAR)
        self.liar.tell((proposal.attempt.leader,), Nack(*proposal.key, promised))


@ATTACKS.add("nack: highest number", "says of each attempt that it has promised the highest one", "nacks")
class HighNacker(Answerer):
    """The largest number."""

    def answer(self, proposal: Proposal) -> None:
        self.liar.tell((proposal.attempt.leader,), Nack(*proposal.key, Attempt(LARGEST, LIAR)))


@ATTACKS.add("nack: a lower number", "says of each attempt that it has promised a lower one", "nacks", "strikes")
class LowNacker(Answerer):
    """Which is no reason."""

    def answer(self, proposal: Proposal) -> None:
        self.liar.tell((proposal.attempt.leader,), Nack(*proposal.key, Attempt(0, LIAR)))


@ATTACKS.add("nack: another's", "says of each attempt that it has promised one of an honest peer", "strikes")
class FalseNacker(Answerer):
    """Who leads none."""

    def answer(self, proposal: Proposal) -> None:
        promised = Attempt(proposal.attempt.counter + 1, self.liar.victim)
        self.liar.tell((proposal.attempt.leader,), Nack(*proposal.key, promised))


@ATTACKS.add(
    "abort: another's",
    "aborts the attempts of honest leaders",
    "leaders of aborts",
    sizes=(3, 4, 5),
)
class Aborter(Answerer):
    """In the name of the leader."""

    def answer(self, proposal: Proposal) -> None:
        others = [peer for peer in self.liar.others if peer != proposal.attempt.leader]
        self.liar.tell(others, Abort(*proposal.key, "no"))


def _prepare(liar: Liar, counter: int, leader: PeerId) -> None:
    commit = liar.commit
    liar.tell(liar.others, liar.signed_prepare(Prepare(commit.lineage, commit.round + 1, Attempt(counter, leader))))


@ATTACKS.add("prepare: again and again", "asks for promises to one attempt after the other", "duels")
class Dueller(Habit):
    """Each one higher than the last."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._number = count(1)

    def acts(self) -> None:
        _prepare(self.liar, next(self._number), LIAR)


@ATTACKS.add("prepare: another's", "asks for promises in the name of an honest peer", "leaders of prepares")
class FalseDueller(Dueller):
    """In the name of another leader."""

    def acts(self) -> None:
        _prepare(self.liar, 10 * next(self._number), self.liar.victim)


ATTACKS.add("prepare: highest number", "asks for promises to the highest attempt that there is", "attempts")(
    repeats(lambda liar: _prepare(liar, LARGEST, LIAR))
)
ATTACKS.add("prepare: 2^63 - 1", "asks for promises to an attempt beyond the highest", "ranges", "attempts")(
    repeats(lambda liar: _prepare(liar, 2**63 - 1, LIAR))
)

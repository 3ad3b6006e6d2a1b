"""Offers that are false, late or somebody else's."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.hostile.attack import Attacks, changes
from benchmarks.hostile.liar import Habit, Liar
from swarm.messages import Offer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.hostile.liar import Values
    from swarm.messages import Message
    from swarm.records import PeerId

ATTACKS = Attacks()
FAR = 50.0
"""Times as far as usual that it moves its weights."""
LATE = 2.0
"""Seconds after which it offers."""


def _stats(**stats: Any) -> Callable[[Liar], Habit]:
    return changes(Offer, lambda liar, _, message: liar.offer(message, **stats))


ATTACKS.add("offer: weight", "claims a hundred times the weight that it joined with", "declared weight")(
    _stats(weight=100)
)
ATTACKS.add("offer: weight 2^63 - 1", "claims the largest number that fits", "ranges", "grants", "declared weight")(
    _stats(weight=2**63 - 1)
)
ATTACKS.add("offer: weight -2", "claims a negative weight", "ranges", "declared weight")(_stats(weight=-2))


@ATTACKS.add("offer: another's name", "offers in the name of an honest peer", "offers")
@lambda change: changes(Offer, change)
def _name(liar: Liar, _: PeerId, message: Offer) -> Message:
    return liar.offer(message, peer=liar.victim)


@ATTACKS.add("offer: another key", "signs with a key that it has not shown", "offers")
@lambda change: changes(Offer, change)
def _key(_: Liar, __: PeerId, message: Offer) -> Message:
    other = Liar()
    return other.signed(message)


@ATTACKS.add("offer: unsigned", "does not sign what it offers to one peer", "signatures of offers", sizes=(3, 4, 5))
@lambda change: changes(Offer, change)
def _unsigned(liar: Liar, to: PeerId, message: Offer) -> Message:
    return replace(message, signature="0" * 128) if to == liar.victim else message


class FarAway(Habit):
    """Moves its weights far and offers another distance; only while it does not lead, as a leader judges distances."""

    def trains(self, weights: Values, merged: Values) -> None:
        if not self.liar.leads:
            weights -= merged
            weights *= FAR
            weights += merged

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if isinstance(message, Offer) and not self.liar.leads:
            message = self.liar.offer(message, delta_norm=self.claims(to, message))
        yield message

    def claims(self, to: PeerId, message: Offer) -> float:
        """The distance that it tells ``to``."""
        del to
        return message.stats.delta_norm / FAR


@ATTACKS.add("offer: small norm", f"moves its weights {FAR:g} times as far as it says", "measured norms")
class SmallNorm(FarAway):
    """The same false distance for everybody."""


@ATTACKS.add("offer: other to each", "tells each peer another distance, and none of them is true", "measured norms")
class OtherToEach(FarAway):
    """A false distance for each."""

    def claims(self, to: PeerId, message: Offer) -> float:
        return super().claims(to, message) * (1 + 0.1 * self.liar.others.index(to))


@ATTACKS.add("offer: infinite norm", "moves its weights far and calls that infinite", "absurd norms", "measured norms")
class InfiniteNorm(FarAway):
    """No number that can be compared."""

    def claims(self, to: PeerId, message: Offer) -> float:
        return math.inf


@ATTACKS.add(
    "offer: norm is NaN", "moves its weights far and calls that NaN", "ranges", "absurd norms", "measured norms"
)
class NoNorm(FarAway):
    """No number at all."""

    def claims(self, to: PeerId, message: Offer) -> float:
        return math.nan


@ATTACKS.add("offer: late", f"offers {LATE:g} s after the others", "straggler timeout", breaks=False)
class Late(Habit):
    """Holds its offers back."""

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if isinstance(message, Offer):
            timer = threading.Timer(LATE, self.liar.tell, ((to,), message))
            timer.daemon = True
            timer.start()
        else:
            yield message


@ATTACKS.add("offer: never", "does not offer", "straggler timeout", breaks=False)
@lambda change: changes(Offer, change)
def _never(_: Liar, __: PeerId, ___: Offer) -> list[Message]:
    return []


@ATTACKS.add("offer: another round", "offers to a round that is far ahead", "straggler timeout")
@lambda change: changes(Offer, change)
def _round(liar: Liar, _: PeerId, message: Offer) -> Message:
    return liar.offer(message, round=message.stats.round + 1000)

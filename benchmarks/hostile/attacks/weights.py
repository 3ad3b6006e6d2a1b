"""Weights that are missing, late, impossible or different for each receiver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.hostile.attack import Attacks
from benchmarks.hostile.liar import Habit
from swarm.exchange.layout import FrameKind, open_head

if TYPE_CHECKING:
    from benchmarks.hostile.liar import Values
    from swarm.messages import FetchRequest, Proposal
    from swarm.records import PeerId
    from swarm.transport.base import Frame, Handler

ATTACKS = Attacks()
FAR = 1e5
SLOW = 4.0
"""Seconds before each frame."""


def _changed(frames: Iterator[Frame], kind: FrameKind, change: Callable[[Values], Values]) -> Iterator[Frame]:
    """The frames, with other values in those of one kind."""
    for head, payload, *rest in frames:
        values = np.frombuffer(payload, np.uint8)
        if open_head(memoryview(head)).kind is kind and len(values) and len(values) % 4 == 0:
            yield head, change(values.view(np.float32)).tobytes(), *rest
        else:
            yield head, payload, *rest


@ATTACKS.add("weights: NaN", "sends NaN", "finite weights")
class NotNumbers(Habit):
    """What it has offered was finite."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        return _changed(frames, FrameKind.CONTRIBUTION, lambda values: np.full_like(values, np.nan))


@ATTACKS.add("weights: others than offered", "sends weights that it has not offered", "measured norms")
class NotOffered(Habit):
    """They are larger."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        return _changed(frames, FrameKind.CONTRIBUTION, lambda values: values + np.float32(1))


@ATTACKS.add(
    "weights: far away",
    f"offers and sends weights that have moved {FAR:g} times as far as usual",
    "absurd norms",
    breaks=False,
    known="of two contributions either may be right: two peers do not compare them",
)
class FarAway(Habit):
    """As after an exploding gradient."""

    def trains(self, weights: Values, merged: Values) -> None:
        self.liar.lies += 1
        weights -= merged
        weights *= FAR
        weights += merged


@ATTACKS.add(
    "weights: frozen",
    f"finishes with weights {FAR:g} times as far away as usual",
    "frozen norms",
    breaks=False,
)
class Frozen(FarAway):
    """They are contributed to every later round."""

    finishes = True


@ATTACKS.add("weights: other results", "sends one peer another merged slice than the others", "strikes")
class OtherResults(Habit):
    """Of the slice that it merges."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        if to != self.liar.victim:
            return frames
        return _changed(frames, FrameKind.RESULT, lambda values: values + np.float32(1))


@ATTACKS.add(
    "weights: wrong slice",
    "merges its slice wrongly, in the same way for all",
    unnamed="nobody finds it",
    known="nobody recomputes what the owner of a slice has merged",
)
class WrongSlice(Habit):
    """It holds the wrong slice itself too."""

    def merges(self, values: Values) -> None:
        values += np.float32(1)


@ATTACKS.add("weights: never", "sends no weights", "slow streams")
class NoWeights(Habit):
    """Its streams end at once."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        return iter(())


@ATTACKS.add("weights: slow", f"sends nothing for {SLOW:g} s before each frame", "slow streams")
class Slow(Habit):
    """Then it sends what it should."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            time.sleep(SLOW)
            yield frame


@ATTACKS.add("weights: garbage", "sends frames that no exchange has", "strikes")
class Garbage(Habit):
    """Of no known kind."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        for _ in frames:
            yield b"\xff" * 16, b"garbage"


@ATTACKS.add(
    "weights: false download",
    "leads rounds without an honest peer, and gives it another model when it catches up",
    "digests",
    sizes=(4, 5),
    bites_at=4,
)
class FalseDownload(Habit):
    """Such a round is allowed: the peer could have been late."""

    def proposes(self, proposal: Proposal) -> Proposal:
        kept = [entry.peer != self.liar.victim for entry in proposal.entries]
        return replace(
            proposal, entries=tuple(compress(proposal.entries, kept)), offers=tuple(compress(proposal.offers, kept))
        )

    def serves(self, request: FetchRequest, engine: Handler) -> Iterator[Frame]:
        frames = iter(engine.serve(request))
        if request.records:
            return frames
        return _changed(frames, FrameKind.RESULT, lambda values: values + np.float32(100))

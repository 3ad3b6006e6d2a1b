"""What of an exchange is refused, and whose fault it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from swarm.errors import ContributionError, ExchangeError
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.layout import FrameKind
from swarm.merge import BUILTIN_RULES, MergeRule, WeightedMean
from swarm.merge.geomedian import GeometricMedian
from swarm.messages import Entry
from swarm.records import PeerStatus
from swarm.session.arithmetic import measure
from swarm.tensors.state import ModelState, Schema, TensorSpec
from tests.exchange.groups import SCHEMA, TINY, ExchangeGroup, before, frames, joined, made, proposal, states

pytestmark = pytest.mark.usefixtures("small_chunks")

MEAN, RULES = WeightedMean(), tuple(BUILTIN_RULES.values())
GRAM = BUILTIN_RULES["geomedian"]


def with_opposite_extremes(dtype: str, largest: float) -> dict[str, ModelState]:
    held = states(Schema((TensorSpec("w", (8,), dtype),)), 3)
    for peer, sign in (("bob", 1), ("cid", -1)):
        held[peer].segments[dtype][:] = sign * largest
    return held


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contributions_as_far_apart_as_their_dtype_allows_are_merged(rule: MergeRule, dtype: str) -> None:
    group = ExchangeGroup(with_opposite_extremes(dtype, 3.3e38), {"ann": 1, "bob": 3, "cid": 2}, rule)
    group.run()
    assert all(measure(exchange.result()).finite for exchange in group.members.values())


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("rule", [MEAN, GRAM, BUILTIN_RULES["norm_clip"]], ids=lambda rule: rule.name)
@pytest.mark.parametrize("largest", [1.7e308, 1e154], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_values_whose_merge_overflows_are_the_fault_of_who_contributed_them(
    rule: MergeRule, largest: float, seed: int
) -> None:
    group = ExchangeGroup(with_opposite_extremes("float64", largest), {"ann": 1, "bob": 3, "cid": 2}, rule, seed)
    if rule is MEAN and largest < 1e200:
        group.run()
        return
    with pytest.raises(ContributionError, match="that cannot be merged: a value of 1") as caught:
        group.run()
    assert caught.value.peer in {"bob", "cid"}


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_among_many_peers_smaller_values_overflow_too() -> None:
    schema, peers = Schema((TensorSpec("w", (2,), "float64"),)), [f"p{number}" for number in range(12)]
    held = {peer: ModelState.empty(schema) for peer in peers}
    for peer, state in held.items():
        state.segments["float64"][:] = 4.4e307 if peer == "p0" else 0.0
    with pytest.raises(ContributionError, match="p0 sent a contribution that cannot be merged"):
        ExchangeGroup(held, dict.fromkeys(peers, 1), MEAN).run()


def pair(rule: MergeRule = MEAN, schema: Schema = TINY, **weights: int) -> Exchange:
    """The exchange of ann, who leads a group with bob."""
    return Exchange("ann", proposal(weights or {"ann": 1, "bob": 1}), rule, states(schema, 2)["ann"])


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (made(FrameKind.CONTRIBUTION, 1, 0, floats(1)), "nobody waits for"),
        (made(FrameKind.CONTRIBUTION, 0, 1, floats(1)), "nobody waits for"),
        (made(FrameKind.CONTRIBUTION, 0, 2, floats(1)), "nobody waits for"),
        (made(FrameKind.CONTRIBUTION, 0, 0, floats(1, 2)), "takes 4 bytes in exact, not 8"),
        (made(FrameKind.CONTRIBUTION, 0, 0, b""), "takes 4 bytes in exact, not 0|came as unchanged"),
        (made(FrameKind.CONTRIBUTION, 0, 0, floats(np.nan)), "NaN or infinity"),
        (made(FrameKind.CONTRIBUTION, 0, 0, floats(np.inf)), "NaN or infinity"),
        (made(FrameKind.RESULT, 0, 0, floats(1)), "does not owe"),
        (made(FrameKind.RESULT, 7, 1, floats(1)), "does not owe"),
        (made(FrameKind.RESULT, 0, 1, floats(np.nan)), "merged chunk that cannot be: .*NaN"),
        (made(FrameKind.RESULT, 0, 1, floats(1, 2)), "takes 4 bytes in exact, not 8"),
        (made(FrameKind.SIDE, 0, 0, b"12345678"), "nobody waits for"),
        (made(FrameKind.GRAM, 0, 0, bytes(32)), "nobody waits for"),
        (made(FrameKind.COEFFICIENTS, 0, 0, bytes(16)), "nobody waits for"),
        (made(FrameKind.SIDE, 0, 0, bytes((2 << 20) + 1)), "kind SIDE with 2097153 bytes"),
        (made(9, 0, 0, b""), "unknown kind"),
        (memoryview(b"short"), "shorter than its header"),
    ],
)
def test_a_frame_that_does_not_belong_is_refused(frame: memoryview, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        pair().receive("bob", frame)


@pytest.mark.parametrize("kind", [FrameKind.CONTRIBUTION, FrameKind.RESULT])
def test_where_nobody_contributes_only_the_last_model_is_taken(kind: FrameKind) -> None:
    """The owner of a slice is blamed, and not the one that sends the model to all."""
    parent = states(TINY, 1)["ann"]
    ann, bob = (Entry(peer, int(peer == "bob"), PeerStatus.ACTIVE) for peer in ("ann", "bob"))
    under = replace(proposal({"ann": 0, "bob": 1}), entries=(ann, bob))
    start = 0 if kind is FrameKind.CONTRIBUTION else 1
    value = parent.segments["float32"][start]

    def member() -> Exchange:
        return Exchange("ann", under, MEAN, parent, ChunkCoder(reference=parent), parent=parent)

    for same in (b"", floats(value)):
        member().receive("bob", made(kind, 0, start, same))
    with pytest.raises(ExchangeError, match="bob sent a .* that cannot be: it differs from the last model"):
        member().receive("bob", made(kind, 0, start, floats(np.nextafter(value, np.float32(9e9)))))


@pytest.mark.parametrize("sender", ["eve", "ann"])
def test_frames_of_strangers_and_of_oneself_are_refused(sender: str) -> None:
    with pytest.raises(ExchangeError, match=f"{sender} is no member"):
        pair().receive(sender, made(FrameKind.CONTRIBUTION, 0, 0, floats(1)))


def test_one_without_weight_contributes_nothing() -> None:
    with pytest.raises(ExchangeError, match="nobody waits for"):
        pair(ann=1, bob=0).receive("bob", made(FrameKind.CONTRIBUTION, 0, 0, floats(1)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_frame_counts_once(rule: MergeRule) -> None:
    held, under = states(SCHEMA, 2), proposal({"ann": 1, "bob": 1})
    parent = before(rule, SCHEMA)
    ann, bob = (Exchange(peer, under, rule, held[peer], ChunkCoder(reference=parent), parent=parent) for peer in held)
    count = 0
    for _ in range(3):
        for source, to, sender in ((ann, bob, "ann"), (bob, ann, "bob")):
            for out in list(frames(source, "bob" if sender == "ann" else "ann")):
                count += 1
                to.receive(sender, joined(out))
                with pytest.raises(ExchangeError):
                    to.receive(sender, joined(out))
    assert ann.done
    assert bob.done
    assert count > 4


def test_a_chunk_of_a_side_block_of_another_length_is_refused() -> None:
    exchange = pair(schema=SCHEMA)
    with pytest.raises(ExchangeError, match="side block"):
        exchange.receive("bob", made(FrameKind.SIDE, 0, 0, bytes(15)))
    with pytest.raises(ExchangeError, match="side block"):
        exchange.receive("bob", made(FrameKind.SIDE, 0, 8, bytes(16)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("last", ["bob", "cid"])
def test_statistics_that_overflow_are_the_fault_of_who_contributed_them(rule: MergeRule, last: str) -> None:
    held, under = states(SCHEMA, 3), proposal({"ann": 1, "bob": 1, "cid": 1})
    held["bob"].side[0][1] = 1e30  # a running mean, whose square is no float32
    members = {peer: Exchange(peer, under, rule, held[peer]) for peer in held}
    sides = {
        peer: [out for out in frames(members[peer], "ann") if out[0][0] == FrameKind.SIDE] for peer in ("bob", "cid")
    }
    first = "cid" if last == "bob" else "bob"
    for peer, outs in ((first, sides[first]), (last, sides[last][:-1])):
        for out in outs:
            members["ann"].receive(peer, joined(out))
    if rule.robust:
        members["ann"].receive(last, joined(sides[last][-1]))
        return
    with pytest.raises(ContributionError, match="bob sent statistics that are too large to be merged") as caught:
        members["ann"].receive(last, joined(sides[last][-1]))
    assert caught.value.peer == "bob"


def test_nan_in_a_side_block_is_refused() -> None:
    held, under = states(SCHEMA, 2), proposal({"ann": 1, "bob": 1})
    held["bob"].side[0][1] = np.nan
    ann, bob = (Exchange(peer, under, MEAN, held[peer]) for peer in held)
    sides = [out for out in frames(bob, "ann") if out[0][0] == FrameKind.SIDE]
    for out in sides[:-1]:
        ann.receive("bob", joined(out))
    with pytest.raises(ExchangeError, match="bob offered finite weights and sent NaN or infinity"):
        ann.receive("bob", joined(sides[-1]))


def prepared_gram(lie: Callable[[Exchange], None]) -> None:
    """Ann leads and has bob's contribution; then bob lies."""
    held, under = states(TINY, 2), proposal({"ann": 1, "bob": 1})
    ann, bob = (Exchange(peer, under, GRAM, held[peer]) for peer in held)
    for out in frames(bob, "ann"):
        ann.receive("bob", joined(out))
    lie(ann)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (np.full(4, np.nan).tobytes(), "NaN, infinity or numbers that are too large"),
        (np.array([[1e308, -1e308], [-1e308, 1e308]]).tobytes(), "too large"),
        (bytes(8), "takes 32 bytes, not 8"),
        (np.array([[1.0, 5.0], [-5.0, 1.0]]).tobytes(), "symmetric"),
        (np.array([[-1.0, 0.0], [0.0, 1.0]]).tobytes(), "negative"),
    ],
)
def test_a_gram_matrix_that_cannot_be_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        prepared_gram(lambda ann: ann.receive("bob", made(FrameKind.GRAM, 0, 0, payload)))


def test_a_second_gram_matrix_is_refused() -> None:
    def twice(ann: Exchange) -> None:
        ann.receive("bob", made(FrameKind.GRAM, 0, 0, bytes(32)))
        with pytest.raises(ExchangeError, match="nobody waits for"):
            ann.receive("bob", made(FrameKind.GRAM, 0, 0, bytes(32)))

    prepared_gram(twice)


def follower() -> Exchange:
    """Bob, who follows ann and has her contribution."""
    held, under = states(TINY, 2), proposal({"ann": 1, "bob": 1})
    ann, bob = (Exchange(peer, under, GRAM, held[peer]) for peer in held)
    for out in frames(ann, "bob"):
        bob.receive("ann", joined(out))
    return bob


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ((np.nan, 1.0), "NaN or infinity"),
        ((0.5, 0.25), "sum"),
        ((1000.0, -999.0), "ann sent a negative coefficient, which geomedian never gives"),
        ((0.5,), "takes 16 bytes, not 8"),
    ],
)
def test_coefficients_that_cannot_be_are_refused(coefficients: tuple[float, ...], message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        follower().receive("ann", made(FrameKind.COEFFICIENTS, 0, 0, np.array(coefficients).tobytes()))


class NotConvex(GeometricMedian):
    """A rule that may have negative coefficients."""

    convex = False


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_coefficients_that_overflow_are_the_fault_of_the_leader() -> None:
    held = states(SCHEMA, 3)
    under = proposal(dict.fromkeys(held, 1), leader="cid")
    ann, *others = (Exchange(peer, under, NotConvex(), state) for peer, state in held.items())
    for peer, exchange in zip(("bob", "cid"), others, strict=True):
        for out in frames(exchange, "ann"):
            ann.receive(peer, joined(out))
    coefficients = np.array([1e300, -1e300, 1.0])
    with pytest.raises(ExchangeError, match="cid sent coefficients that give NaN or infinity"):
        ann.receive("cid", made(FrameKind.COEFFICIENTS, 0, 0, coefficients.tobytes()))


def test_coefficients_come_from_the_leader_alone_once_and_after_the_matrix() -> None:
    good = made(FrameKind.COEFFICIENTS, 0, 0, np.array([0.5, 0.5]).tobytes())
    with pytest.raises(ExchangeError, match="nobody waits for"):
        pair(GRAM).receive("bob", good)
    early = Exchange("bob", proposal({"ann": 1, "bob": 1}), GRAM, states(TINY, 2)["bob"])
    with pytest.raises(ExchangeError, match="before this member's part"):
        early.receive("ann", good)
    bob = follower()
    bob.receive("ann", good)
    with pytest.raises(ExchangeError, match="nobody waits for"):
        bob.receive("ann", good)

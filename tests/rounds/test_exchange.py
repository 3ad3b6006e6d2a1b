"""What the members of a group exchange, and what of it is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from swarm import digest
from swarm.errors import ExchangeError
from swarm.merge import BUILTIN_RULES, MergeRule, Scope, WeightedMean, spectral
from swarm.merge.side import merge_statistics
from swarm.messages import Entry, Proposal
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.rounds import layout
from swarm.rounds.arrival import ContributionError
from swarm.rounds.coding import PieceCoder
from swarm.rounds.exchange import Exchange, OutFrame
from swarm.rounds.layout import HEADER, Kind
from swarm.state import ModelState, Schema, SpectralNorm, TensorKind, TensorSpec

MEAN, RULES = WeightedMean(), tuple(BUILTIN_RULES.values())
GRAM = BUILTIN_RULES["geomedian"]
SCHEMA = Schema(
    (
        TensorSpec("weight", (11, 3), "float32"),
        TensorSpec("running_mean", (3,), "float32", TensorKind.MEAN),
        TensorSpec("running_var", (3,), "float32", TensorKind.VARIANCE),
        TensorSpec("half", (5,), "bfloat16"),
        TensorSpec("seen", (), "int64", TensorKind.COUNTER),
        TensorSpec("scale", (2,), "float32", TensorKind.STATE),
        TensorSpec("bias", (7,), "float32"),
    )
)
TINY = Schema((TensorSpec("w", (2,), "float32"),))
ONLY_SIDE = Schema((TensorSpec("seen", (), "int64", TensorKind.COUNTER),))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PIECE_BYTES", 16)
    monkeypatch.setattr(digest, "BLOCK_BYTES", 8)


def states(schema: Schema, count: int, seed: int = 0) -> dict[str, ModelState]:
    rng = np.random.default_rng(seed)
    made = {}
    for name in ("ann", "bob", "cid", "dee", "eve")[:count]:
        state = ModelState.empty(schema)
        for _, array in state.arrays():
            array[...] = (10 * np.abs(rng.standard_normal(array.shape))).astype(array.dtype)
        made[name] = state
    return made


def proposal(weights: dict[str, int], leader: str = "ann") -> Proposal:
    members = tuple(sorted(weights))
    return Proposal(
        lineage="line",
        round=1,
        attempt=Attempt(0, leader),
        parent="parent",
        voters=members,
        members=members,
        entries=tuple(Entry(peer, weights[peer], PeerStatus.TRAINING) for peer in members),
        sync=SyncState(8),
        closing=False,
        weight=sum(weights.values()),
    )


class Hall:
    """All members of one group, with frames carried between them in a given order."""

    def __init__(
        self,
        held: dict[str, ModelState],
        weights: dict[str, int],
        rule: MergeRule,
        seed: int = 0,
        *,
        under: Proposal | None = None,
        parent: ModelState | None = None,
    ) -> None:
        under = under or proposal(weights, leader=max(weights))
        coder = PieceCoder(reference=parent)
        self.members = {peer: Exchange(peer, under, rule, held[peer], coder, parent=parent) for peer in weights}
        self.sent = dict.fromkeys(weights, 0)
        self._random = random.Random(seed)

    def run(self) -> None:
        """Carry one frame after the other, from a random member to a random one, until nothing is left to carry."""
        ways = [(source, to) for source in self.members for to in self.members if source != to]
        idle = 0
        while idle < 2:
            self._random.shuffle(ways)
            moved = [self._carry(source, to) for source, to in ways]
            idle = 0 if any(moved) else idle + 1

    def _carry(self, source: str, to: str) -> bool:
        moved = False
        for _ in range(self._random.randrange(1, 4)):
            out = self.members[source].next_frame(to)
            if out is None:
                break
            moved = True
            self.sent[source] += len(out[1])
            self.members[to].receive(source, joined(out))
        return moved


def joined(out: OutFrame) -> memoryview:
    return memoryview(bytearray(out[0] + bytes(out[1])))


def made(kind: int, segment: int, start: int, payload: bytes) -> memoryview:
    return memoryview(HEADER.pack(kind, segment, len(payload), start) + payload)


def frames(exchange: Exchange, to: str) -> Iterator[OutFrame]:
    while (out := exchange.next_frame(to)) is not None:
        yield out


def whole(held: dict[str, ModelState], weights: dict[str, int], rule: MergeRule) -> ModelState:
    """The merge of whole models in one process."""
    contributors = [held[peer] for peer in sorted(weights) if weights[peer]]
    factors = [weights[peer] for peer in sorted(weights) if weights[peer]]
    schema = contributors[0].schema
    segments = {
        dtype: rule.merge([state.segments[dtype] for state in contributors], factors) for dtype in schema.segments
    }
    statistics = [spec for spec in schema.side if spec.kind is not TensorKind.STATE]
    places = [schema.side.index(spec) for spec in statistics]
    parts = [[state.side[place] for place in places] for state in contributors]
    merged = dict(zip(places, merge_statistics(statistics, parts, factors, robust=rule.robust), strict=True))
    source = max(contributors, key=lambda state: factors[contributors.index(state)])
    return ModelState(schema, segments, [merged.get(place, array) for place, array in enumerate(source.side)])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("schema", [SCHEMA, TINY, ONLY_SIDE], ids=["model", "tiny", "side"])
@pytest.mark.parametrize(
    "weights",
    [
        {"ann": 1},
        {"ann": 3, "bob": 1},
        {"ann": 0, "bob": 1},
        {"ann": 0, "bob": 0, "cid": 7},
        {"ann": 2, "bob": 0, "cid": 1},
        {"ann": 1, "bob": 2, "cid": 3, "dee": 0, "eve": 100},
    ],
    ids=lambda weights: "-".join(map(str, weights.values())),
)
def test_every_member_assembles_the_merge_of_the_whole_models(
    rule: MergeRule, schema: Schema, weights: dict[str, int]
) -> None:
    held = states(schema, len(weights))
    hall = Hall(held, weights, rule)
    hall.run()
    results = [exchange.result() for exchange in hall.members.values()]
    assert {exchange.digest() for exchange in hall.members.values()} == {result.digest() for result in results}
    assert len({result.digest() for result in results}) == 1
    expected = whole(held, weights, rule)
    if rule.scope is Scope.GRAM:  # inner products add up in another order, slice by slice
        for (_, ours), (spec, theirs) in zip(results[0].arrays(), expected.arrays(), strict=True):
            tolerance = 2.0**-7 if spec.dtype == "bfloat16" else 1e-5
            np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance)
    else:
        assert results[0].digest() == expected.digest()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_order_of_arrival_changes_no_byte(rule: MergeRule) -> None:
    held, weights = states(SCHEMA, 4), {"ann": 1, "bob": 5, "cid": 0, "dee": 2}
    digests = set()
    for seed in range(8):
        hall = Hall(held, weights, rule, seed)
        hall.run()
        digests |= {exchange.result().digest() for exchange in hall.members.values()}
    assert len(digests) == 1


def test_the_mean_is_the_weighted_mean() -> None:
    held, weights = states(SCHEMA, 3), {"ann": 1, "bob": 2, "cid": 5}
    hall = Hall(held, weights, MEAN)
    hall.run()
    expected = sum(weights[peer] * held[peer].segments["float32"].astype(np.float64) for peer in weights) / 8
    merged = hall.members["cid"].result().segments["float32"]
    np.testing.assert_allclose(merged, expected, rtol=1e-6)


def test_a_single_contributor_is_handed_round_to_the_bit() -> None:
    held = states(SCHEMA, 3)
    for rule in RULES:
        hall = Hall(held, {"ann": 0, "bob": 9, "cid": 0}, rule)
        hall.run()
        assert {exchange.result().digest() for exchange in hall.members.values()} == {held["bob"].digest()}


def test_what_members_hold_is_left_alone() -> None:
    held = states(SCHEMA, 3)
    before = {peer: state.digest() for peer, state in held.items()}
    Hall(held, {"ann": 1, "bob": 1, "cid": 1}, MEAN).run()
    assert {peer: state.digest() for peer, state in held.items()} == before


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_member_sends_twice_its_share_of_the_model(count: int) -> None:
    schema = Schema((TensorSpec("w", (60,), "float32"),))
    hall = Hall(states(schema, count), dict.fromkeys(("ann", "bob", "cid", "dee", "eve")[:count], 1), MEAN)
    hall.run()
    assert set(hall.sent.values()) == {2 * (count - 1) * schema.nbytes // count}


def test_the_digest_is_taken_as_pieces_pass() -> None:
    schema = Schema((TensorSpec("w", (60,), "float32"),))
    hall = Hall(states(schema, 3), {"ann": 1, "bob": 1, "cid": 1}, MEAN)
    hall.run()
    ann = hall.members["ann"]
    expected = ann.result().digest()
    ann.result().segments["float32"][:] = 0
    assert ann.digest() == expected != ann.result().digest()


def test_contributions_go_before_results() -> None:
    ann, bob = (Exchange(peer, proposal({"ann": 1, "bob": 1}), MEAN, state) for peer, state in states(TINY, 2).items())
    ann.receive("bob", joined(next(frames(bob, "ann"))))
    kinds = [Kind(head[0]) for head, _ in frames(ann, "bob")]
    assert kinds == [Kind.CONTRIBUTION, Kind.RESULT]


def test_a_member_is_done_with_another_once_all_is_sent() -> None:
    hall = Hall(states(SCHEMA, 3), {"ann": 1, "bob": 1, "cid": 1}, GRAM)
    assert not hall.members["ann"].sent("bob")
    hall.run()
    assert all(hall.members[one].sent(two) for one in hall.members for two in hall.members if one != two)


def test_there_is_no_result_before_all_is_there() -> None:
    exchange = Exchange("ann", proposal({"ann": 1, "bob": 1}), MEAN, states(TINY, 2)["ann"])
    assert not exchange.done
    with pytest.raises(ExchangeError, match="not complete"):
        exchange.result()


def test_it_is_known_who_owes_what() -> None:
    held, under = states(SCHEMA, 3), proposal({"ann": 1, "bob": 1, "cid": 0})
    ann, bob = (Exchange(peer, under, MEAN, held[peer]) for peer in ("ann", "bob"))
    assert ann.owing() == ({"bob"}, {"bob", "cid"})
    for out in frames(bob, "ann"):
        ann.receive("bob", joined(out))
    assert ann.owing() == (frozenset(), {"bob", "cid"})


STATE = Schema(
    (
        TensorSpec("w", (2,), "float32"),
        TensorSpec("queue", (5,), "float32", TensorKind.STATE),
        TensorSpec("place", (), "int64", TensorKind.STATE),
        TensorSpec("seen", (), "bool", TensorKind.STATE),
    )
)


@pytest.mark.parametrize(
    ("weights", "statuses", "source"),
    [
        ({"ann": 1, "bob": 1, "cid": 1}, {}, "ann"),
        ({"ann": 1, "bob": 2, "cid": 1}, {}, "bob"),
        ({"ann": 0, "bob": 1, "cid": 1}, {}, "bob"),
        ({"ann": 9, "bob": 1, "cid": 2}, {"ann": PeerStatus.SNAPSHOT}, "cid"),
        ({"ann": 1, "bob": 2, "cid": 0}, {"ann": PeerStatus.SNAPSHOT, "bob": PeerStatus.SNAPSHOT}, "bob"),
    ],
    ids=["tie", "weight", "no weight", "finished", "all finished"],
)
def test_module_state_is_that_of_one_contributor_as_a_whole(
    weights: dict[str, int], statuses: dict[str, PeerStatus], source: str
) -> None:
    held = states(STATE, 3)
    under = proposal(weights)
    entries = tuple(replace(entry, status=statuses.get(entry.peer, entry.status)) for entry in under.entries)
    hall = Hall(held, weights, MEAN, under=replace(under, entries=entries))
    hall.run()
    for exchange in hall.members.values():
        assert [array.tobytes() for array in exchange.result().side] == [a.tobytes() for a in held[source].side]


def test_module_state_that_is_as_before_is_not_sent_again() -> None:
    held, parent = states(STATE, 2), states(STATE, 1, seed=5)["ann"]
    held["ann"].side[:] = [array.copy() for array in parent.side]
    weights = {"ann": 1, "bob": 1}
    hall = Hall(held, weights, MEAN, parent=parent)
    hall.run()
    assert hall.members["bob"].result().side[0].tobytes() == parent.side[0].tobytes()
    assert hall.sent["ann"] == hall.sent["bob"] == 2 * 4  # one of the two weights, contributed and merged


def test_module_state_that_has_become_nan_is_refused() -> None:
    held, parent = states(STATE, 2), states(STATE, 1, seed=5)["ann"]
    parent.side[0][1] = np.nan
    for state in held.values():
        state.side[0][1:3] = np.nan, np.inf
    hall = Hall(held, {"ann": 1, "bob": 1}, MEAN, parent=parent)
    hall.run()
    assert {exchange.digest() for exchange in hall.members.values()} == {hall.members["ann"].result().digest()}
    held["ann"].side[0][2] = np.nan
    with pytest.raises(ExchangeError, match="ann offered finite weights and sent NaN or infinity"):
        Hall(held, {"ann": 1, "bob": 1}, MEAN, parent=parent).run()


def test_a_singular_vector_fits_the_merged_weight_and_is_the_same_everywhere() -> None:
    tensors = (
        TensorSpec("w", (4, 2, 3), "float32"),
        TensorSpec("u", (2,), "float32", TensorKind.STATE),
        TensorSpec("v", (12,), "float32", TensorKind.STATE),
    )
    schema = Schema(tensors, (SpectralNorm(0, 1, 1, 2),))
    weights = {"ann": 1, "bob": 2, "cid": 1}
    hall = Hall(states(schema, 3), weights, MEAN)
    hall.run()
    results = [exchange.result() for exchange in hall.members.values()]
    assert {exchange.digest() for exchange in hall.members.values()} == {result.digest() for result in results}
    assert len({result.digest() for result in results}) == 1
    merged, u, v = (array for _, array in results[0].arrays())
    matrix = np.moveaxis(merged, 1, 0).reshape(2, -1)
    np.testing.assert_allclose([np.linalg.norm(u), np.linalg.norm(v)], 1, rtol=1e-5)
    np.testing.assert_allclose(u @ matrix @ v, np.linalg.norm(matrix, 2), rtol=1e-3)


def test_singular_vectors_are_computed_without_a_change_to_frames_that_are_not_sent_yet() -> None:
    """Where the layer divides the weight in place, too."""
    tensors = (TensorSpec("w", (4, 3), "float32"), TensorSpec("u", (4,), "float32", TensorKind.STATE))
    held = states(Schema(tensors, (SpectralNorm(0, 0, 1, in_place=True),)), 2)
    ann, bob = (Exchange(peer, proposal({"ann": 1, "bob": 1}), MEAN, state) for peer, state in held.items())
    for source, to in ((bob, ann), (ann, bob)):
        for out in frames(source, "ann" if to is ann else "bob"):
            to.receive("bob" if source is bob else "ann", joined(out))
    late = list(frames(bob, "ann"))
    before = [joined(out) for out in late]
    assert bob.done
    assert before
    bob.result()
    assert [joined(out) for out in late] == before
    for out in late:
        ann.receive("bob", joined(out))
    assert ann.digest() == bob.digest() == bob.result().digest()


def with_opposite_extremes(dtype: str, largest: float) -> dict[str, ModelState]:
    held = states(Schema((TensorSpec("w", (8,), dtype),)), 3)
    for peer, sign in (("bob", 1), ("cid", -1)):
        held[peer].segments[dtype][:] = sign * largest
    return held


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contributions_as_far_apart_as_their_dtype_allows_are_merged(rule: MergeRule, dtype: str) -> None:
    hall = Hall(with_opposite_extremes(dtype, 3.3e38), {"ann": 1, "bob": 3, "cid": 2}, rule)
    hall.run()
    assert all(exchange.result().finite() for exchange in hall.members.values())


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("rule", [MEAN, GRAM], ids=lambda rule: rule.name)
@pytest.mark.parametrize("largest", [1.7e308, 1e154], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_values_whose_merge_overflows_are_the_fault_of_who_contributed_them(
    rule: MergeRule, largest: float, seed: int
) -> None:
    hall = Hall(with_opposite_extremes("float64", largest), {"ann": 1, "bob": 3, "cid": 2}, rule, seed)
    if rule is MEAN and largest < 1e200:
        hall.run()
        return
    with pytest.raises(ContributionError, match="that cannot be merged: a value of 1") as caught:
        hall.run()
    assert caught.value.peer in {"bob", "cid"}


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_among_many_peers_smaller_values_overflow_too() -> None:
    schema, peers = Schema((TensorSpec("w", (2,), "float64"),)), [f"p{number}" for number in range(12)]
    held = {peer: ModelState.empty(schema) for peer in peers}
    for peer, state in held.items():
        state.segments["float64"][:] = 4.4e307 if peer == "p0" else 0.0
    with pytest.raises(ContributionError, match="p0 sent a contribution that cannot be merged"):
        Hall(held, dict.fromkeys(peers, 1), MEAN).run()


@pytest.mark.parametrize("start", ["a vector of another singular value", "nan"])
def test_a_singular_value_is_found_whatever_the_vector_was_before(start: str) -> None:
    """All singular values but the first are equal, as after an orthogonal initialisation."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((96, 96)))[0] for _ in range(2))
    schema = Schema(
        (TensorSpec("w", (96, 96), "float32"), TensorSpec("u", (96,), "float32", TensorKind.STATE)),
        (SpectralNorm(0, 0, 1),),
    )
    state = ModelState.empty(schema)
    weight, vector = (array for _, array in state.arrays())
    weight[...] = (left * np.where(np.arange(96) == 0, 1.1, 1.0)) @ right.T
    vector[...] = np.nan if start == "nan" else left[:, 7]
    spectral.refresh(state)
    assert np.linalg.norm(vector @ weight) == pytest.approx(1.1, rel=1e-3)


def test_a_singular_vector_is_the_same_where_denormal_numbers_are_rounded_to_zero() -> None:
    schema = Schema(
        (TensorSpec("w", (3, 4), "float32"), TensorSpec("u", (3,), "float32", TensorKind.STATE)),
        (SpectralNorm(0, 0, 1),),
    )
    results = []
    for smallest in (1e-39, 0):
        state = ModelState.empty(schema)
        weight, vector = (array for _, array in state.arrays())
        weight[...] = [[1, 2, 3, 4], [4, 3, 2, 1], [smallest] * 4]
        vector[...] = [1, 0, smallest]
        spectral.refresh(state)
        results.append(vector.tobytes())
    assert results[0] == results[1]


def test_vectors_of_a_weight_that_one_peer_hands_on_stay_as_they_are() -> None:
    tensors = (TensorSpec("w", (4, 3), "float32"), TensorSpec("u", (4,), "float32", TensorKind.STATE))
    held = states(Schema(tensors, (SpectralNorm(0, 0, 1, in_place=True),)), 2)
    hall = Hall(held, {"ann": 0, "bob": 1}, MEAN)
    hall.run()
    assert {exchange.digest() for exchange in hall.members.values()} == {held["bob"].digest()}


# What is refused -----------------------------------------------------------------------------------------------------


def pair(rule: MergeRule = MEAN, schema: Schema = TINY, **weights: int) -> Exchange:
    """The exchange of ann, who leads a group with bob."""
    return Exchange("ann", proposal(weights or {"ann": 1, "bob": 1}), rule, states(schema, 2)["ann"])


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (made(Kind.CONTRIBUTION, 1, 0, floats(1)), "nobody waits for"),
        (made(Kind.CONTRIBUTION, 0, 1, floats(1)), "nobody waits for"),
        (made(Kind.CONTRIBUTION, 0, 2, floats(1)), "nobody waits for"),
        (made(Kind.CONTRIBUTION, 0, 0, floats(1, 2)), "takes 4 bytes in exact, not 8"),
        (made(Kind.CONTRIBUTION, 0, 0, b""), "takes 4 bytes in exact, not 0|came as unchanged"),
        (made(Kind.CONTRIBUTION, 0, 0, floats(np.nan)), "NaN or infinity"),
        (made(Kind.CONTRIBUTION, 0, 0, floats(np.inf)), "NaN or infinity"),
        (made(Kind.RESULT, 0, 0, floats(1)), "does not owe"),
        (made(Kind.RESULT, 7, 1, floats(1)), "does not owe"),
        (made(Kind.RESULT, 0, 1, floats(np.nan)), "merged piece that cannot be: .*NaN"),
        (made(Kind.RESULT, 0, 1, floats(1, 2)), "takes 4 bytes in exact, not 8"),
        (made(Kind.SIDE, 0, 0, b"12345678"), "nobody waits for"),
        (made(Kind.GRAM, 0, 0, bytes(32)), "nobody waits for"),
        (made(Kind.COEFFICIENTS, 0, 0, bytes(16)), "nobody waits for"),
        (made(9, 0, 0, b""), "unknown kind"),
        (memoryview(b"short"), "shorter than its header"),
    ],
)
def test_a_frame_that_does_not_belong_is_refused(frame: memoryview, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        pair().receive("bob", frame)


@pytest.mark.parametrize("sender", ["eve", "ann"])
def test_frames_of_strangers_and_of_oneself_are_refused(sender: str) -> None:
    with pytest.raises(ExchangeError, match=f"{sender} is no member"):
        pair().receive(sender, made(Kind.CONTRIBUTION, 0, 0, floats(1)))


def test_one_without_weight_contributes_nothing() -> None:
    with pytest.raises(ExchangeError, match="nobody waits for"):
        pair(ann=1, bob=0).receive("bob", made(Kind.CONTRIBUTION, 0, 0, floats(1)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_frame_counts_once(rule: MergeRule) -> None:
    held, under = states(SCHEMA, 2), proposal({"ann": 1, "bob": 1})
    ann, bob = (Exchange(peer, under, rule, held[peer]) for peer in held)
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


def test_a_piece_of_a_side_block_of_another_length_is_refused() -> None:
    exchange = pair(schema=SCHEMA)
    with pytest.raises(ExchangeError, match="side block"):
        exchange.receive("bob", made(Kind.SIDE, 0, 0, bytes(15)))
    with pytest.raises(ExchangeError, match="side block"):
        exchange.receive("bob", made(Kind.SIDE, 0, 8, bytes(16)))


def test_nan_in_a_side_block_is_refused() -> None:
    held, under = states(SCHEMA, 2), proposal({"ann": 1, "bob": 1})
    held["bob"].side[0][1] = np.nan
    ann, bob = (Exchange(peer, under, MEAN, held[peer]) for peer in held)
    sides = [out for out in frames(bob, "ann") if out[0][0] == Kind.SIDE]
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
        prepared_gram(lambda ann: ann.receive("bob", made(Kind.GRAM, 0, 0, payload)))


def test_a_second_gram_matrix_is_refused() -> None:
    def twice(ann: Exchange) -> None:
        ann.receive("bob", made(Kind.GRAM, 0, 0, bytes(32)))
        with pytest.raises(ExchangeError, match="nobody waits for"):
            ann.receive("bob", made(Kind.GRAM, 0, 0, bytes(32)))

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
    [((np.nan, 1.0), "NaN or infinity"), ((0.5, 0.25), "sum"), ((0.5,), "takes 16 bytes, not 8")],
)
def test_coefficients_that_cannot_be_are_refused(coefficients: tuple[float, ...], message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        follower().receive("ann", made(Kind.COEFFICIENTS, 0, 0, np.array(coefficients).tobytes()))


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_coefficients_that_overflow_are_the_fault_of_the_leader() -> None:
    held = states(SCHEMA, 3)
    under = proposal(dict.fromkeys(held, 1), leader="cid")
    ann, *others = (Exchange(peer, under, GRAM, state) for peer, state in held.items())
    for peer, exchange in zip(("bob", "cid"), others, strict=True):
        for out in frames(exchange, "ann"):
            ann.receive(peer, joined(out))
    coefficients = np.array([1e300, -1e300, 1.0])
    with pytest.raises(ExchangeError, match="cid sent coefficients that give NaN or infinity"):
        ann.receive("cid", made(Kind.COEFFICIENTS, 0, 0, coefficients.tobytes()))


def test_coefficients_come_from_the_leader_alone_once_and_after_the_matrix() -> None:
    good = made(Kind.COEFFICIENTS, 0, 0, np.array([0.5, 0.5]).tobytes())
    with pytest.raises(ExchangeError, match="nobody waits for"):
        pair(GRAM).receive("bob", good)
    early = Exchange("bob", proposal({"ann": 1, "bob": 1}), GRAM, states(TINY, 2)["bob"])
    with pytest.raises(ExchangeError, match="before this member's part"):
        early.receive("ann", good)
    bob = follower()
    bob.receive("ann", good)
    with pytest.raises(ExchangeError, match="nobody waits for"):
        bob.receive("ann", good)

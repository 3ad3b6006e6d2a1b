"""One pass over a capture finds what an offer says: its digest, its distance from the parent, if it is finite."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from swarm import hookimpl
from swarm.records import ContributionStats
from swarm.session.arithmetic import measure
from swarm.tensors import digest
from swarm.tensors.capture import BorrowedCapture
from swarm.tensors.state import Array, ModelState, Schema, TensorKind, TensorSpec
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

SCHEMA = Schema(
    (
        TensorSpec("long", (37, 3), "float32"),
        TensorSpec("half", (29,), "float16"),
        TensorSpec("none", (0,), "float32"),
        TensorSpec("mean", (5,), "float32", TensorKind.MEAN),
        TensorSpec("bias", (3,), "float32"),
        TensorSpec("double", (33,), "float64"),
        TensorSpec("scale", (), "float32"),
        TensorSpec("rest", (60,), "float32"),
        TensorSpec("mask", (2,), "float32", TensorKind.STATE),
        TensorSpec("optimizer.m of long", (37, 3), "bfloat16", TensorKind.MOMENT),
        TensorSpec("optimizer.m of bias", (3,), "bfloat16", TensorKind.MOMENT),
        TensorSpec("optimizer.step", (1,), "int64", TensorKind.STEPS),
    )
)
"""Tensors that begin and end anywhere in the blocks."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "BLOCK_BYTES", 64)


@pytest.fixture
def state() -> ModelState:
    return filled(0)


def filled(seed: int) -> ModelState:
    made, rng = ModelState.empty(SCHEMA), np.random.default_rng(seed)
    for spec, array in made.arrays():
        array[...] = rng.normal(size=spec.shape).astype(array.dtype) if spec.dtype != "int64" else 4
    return made


def borrowed(state: ModelState) -> BorrowedCapture:
    return BorrowedCapture(state.schema, [array.copy() for _, array in state.arrays()])


def held(state: ModelState) -> BorrowedCapture:
    capture = borrowed(state)
    capture.hold()
    return capture


def test_a_borrowed_a_held_and_a_copied_capture_have_one_root(state: ModelState) -> None:
    origin, expected = filled(1), state.digest()
    for capture in (state, borrowed(state), held(state)):
        assert measure(capture).root == measure(capture, origin).root == expected


@pytest.mark.parametrize("name", [spec.name for spec in SCHEMA.tensors if spec.size])
@pytest.mark.parametrize("last", [False, True])
def test_every_tensor_counts_for_the_root(state: ModelState, name: str, *, last: bool) -> None:
    before = measure(borrowed(state)).root
    array = next(array for spec, array in state.arrays() if spec.name == name).reshape(-1)
    array[-1 if last else 0] += 1
    assert measure(borrowed(state)).root == state.digest() != before


def test_the_root_is_of_values_that_are_not_finite_too(state: ModelState) -> None:
    state.segments["float32"][7] = np.nan
    assert measure(borrowed(state), filled(1)).root == state.digest()


@pytest.mark.parametrize("capture", [ModelState.copy, borrowed], ids=["copied", "borrowed"])
def test_the_distance_is_that_of_all_weights_and_of_nothing_else(state: ModelState, capture) -> None:
    origin = filled(1)
    weights = [
        (mine.astype(np.float64) - theirs.astype(np.float64)).reshape(-1)
        for (spec, mine), (_, theirs) in zip(state.arrays(), origin.arrays(), strict=True)
        if spec.kind is TensorKind.WEIGHT
    ]
    expected = float(np.linalg.norm(np.concatenate(weights)))
    assert measure(capture(state), origin).norm == pytest.approx(expected, rel=1e-6)
    assert measure(capture(state)).norm == 0


@pytest.mark.parametrize("with_origin", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "finite"),
    [
        *(("long", False), ("half", False), ("double", False), ("scale", False), ("rest", False), ("mean", False)),
        ("optimizer.m of bias", True),
    ],
)
def test_a_value_that_is_not_finite_is_found_anywhere(
    state: ModelState, name: str, value: float, *, finite: bool, with_origin: bool
) -> None:
    next(array for spec, array in state.arrays() if spec.name == name).reshape(-1)[-1] = value
    for capture in (state, borrowed(state)):
        found = measure(capture, filled(1) if with_origin else None)
        assert found.finite is finite
        assert found.moments_finite is not finite
        assert finite or found.norm == 0


def test_module_state_may_not_become_nan(state: ModelState) -> None:
    origin = filled(1)
    state.side[1][0] = np.nan
    assert measure(state).finite
    assert not measure(state, origin).finite
    origin.side[1][0] = np.nan
    assert measure(state, origin).finite


class Counted(ModelState):
    """Counts how often its values are read."""

    passes = 0

    def runs(self) -> Iterator[tuple[int, int, Array]]:
        self.passes += 1
        return super().runs()


def test_all_is_found_in_one_pass(state: ModelState) -> None:
    capture = Counted(SCHEMA, state.segments, state.side)
    measure(capture, filled(1))
    assert capture.passes == 1


@pytest.mark.parametrize("overlap", [False, True])
def test_an_offer_names_the_root_of_what_is_offered(*, overlap: bool) -> None:
    offered: list[ContributionStats] = []

    class Listener:
        @hookimpl
        def swarm_accept_contribution(self, contribution: ContributionStats) -> str | None:
            offered.append(contribution)
            return None

    swarm = MemorySwarm(sync_interval=1, world_size=2, overlap=overlap)
    start = {"w": np.zeros(50, np.float32), "b": np.ones(7, ml_dtypes.bfloat16)}
    peers = [swarm.peer(name, start, plugins={"l": Listener()}) for name in ("ada", "bob")]
    trained: dict[str, str] = {}

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += len(peer.name) + ord(peer.name[0])
        trained[peer.name] = peer.digest()

    together(*(partial(peer.train, 1, step) for peer in peers))
    roots = {each.peer: each.root for each in offered if each.round == 1}
    assert roots == trained
    assert len(set(roots.values())) == 2

"""A whole run gives what a few lines of NumPy give in one process: the same bytes, on every peer."""

from __future__ import annotations

from functools import partial

import ml_dtypes
import numpy as np
import pytest

from swarm.consensus.paxos import leader_order
from swarm.session.arithmetic import difference, measure
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, together

DTYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
NAMES = ("ada", "bob", "cyd")
INTERVAL = 4


def initial(seed: int) -> dict[str, np.ndarray]:
    """Weights of every dtype, a scalar among them."""
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=(5, 7)).astype(dtype) for name, dtype in DTYPES.items()}
    return arrays | {"scalar": np.array(rng.normal(), np.float32), "empty": np.zeros((0, 3), np.float32)}


def step(rng: np.random.Generator, arrays: dict[str, np.ndarray]) -> None:
    for array in arrays.values():
        array[...] = (array.astype(np.float64) * 0.99 + 0.1 * rng.normal(size=array.shape)).astype(array.dtype)


def mean(values: list[np.ndarray], weights: list[int]) -> np.ndarray:
    """The rule's arithmetic: differences from the heaviest, in the order of the peers, in float32 at least."""
    shares = [weight / sum(weights) for weight in weights]
    wide = np.float64 if values[0].dtype == np.float64 else np.float32
    origin, *others = (values[index].astype(wide) for index in heaviest_first(shares))
    factors = [wide(shares[index]) for index in heaviest_first(shares)][1:]
    alike = len(set(factors)) == 1
    offset = np.zeros_like(origin)
    for other, factor in zip(others, factors, strict=True):
        offset += origin - other if alike else (origin - other) * factor
    if alike:
        offset *= factors[0]
    return np.asarray(origin - offset).astype(values[0].dtype)


def heaviest_first(shares: list[float]) -> list[int]:
    anchor = shares.index(max(shares))
    return [anchor, *(index for index in range(len(shares)) if index != anchor)]


def merged(models: list[dict[str, np.ndarray]], weights: list[int]) -> dict[str, np.ndarray]:
    taking_part = [index for index, weight in enumerate(weights) if weight]
    return {
        name: mean([models[index][name] for index in taking_part], [weights[index] for index in taking_part])
        for name in models[0]
    }


def reference(weights: list[int], batches: int) -> dict[str, np.ndarray]:
    """All peers of equal length in one process, with the check-in mode 'snapshot'."""
    founder = NAMES.index(leader_order("swarm_model", 0, NAMES)[0])
    models = [initial(founder) for _ in NAMES]
    steps = [np.random.default_rng(100 + index) for index in range(len(NAMES))]
    for batch in range(1, batches + 1):
        for model, rng in zip(models, steps, strict=True):
            step(rng, model)
        if batch % INTERVAL == 0:
            result = merged(models, weights)
            models = [{name: array.copy() for name, array in result.items()} for _ in NAMES]
    return merged(models, weights)


@pytest.mark.parametrize(
    ("weights", "batches"), [([1, 1, 1], 16), ([1, 1, 1], 18), ([3, 100, 1], 18), ([0, 5, 2], 11), ([7, 0, 0], 3)]
)
def test_a_run_equals_its_reference_to_the_byte(weights: list[int], batches: int) -> None:
    swarm = MemorySwarm(sync_interval=INTERVAL, world_size=3)
    peers = [swarm.peer(name, initial(index), node_weightage=weights[index]) for index, name in enumerate(NAMES)]
    steps = [np.random.default_rng(100 + index) for index in range(len(NAMES))]
    together(
        *(
            partial(peer.train, batches, lambda peer, rng=rng: step(rng, peer.arrays))
            for peer, rng in zip(peers, steps, strict=True)
        )
    )
    expected = reference(weights, batches)
    for peer in peers:
        assert {name: array.tobytes() for name, array in peer.arrays.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }
        assert {name: array.dtype for name, array in peer.arrays.items()} == {
            name: array.dtype for name, array in expected.items()
        }


@pytest.mark.parametrize(("method", "expected"), [("coordmedian", [1.0, 20.0]), ("geomedian", None)])
def test_a_robust_rule_ignores_an_outlier(method: str, expected: object) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=3, merge_method=method)
    ends = {"ada": [0.0, 20.0], "bob": [1.0, 21.0], "cyd": [1e3, -1e3]}
    peers = [swarm.peer(name, {"w": np.zeros(2, np.float32)}) for name in ends]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"][...] = ends[peer.name]

    together(*(partial(peer.train, 2, step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    result = peers[0].arrays["w"]
    if expected is None:
        assert np.abs(result - [0.5, 20.5]).max() < 2
    else:
        assert result.tolist() == expected


def test_statistics_are_pooled_counters_take_the_maximum_and_state_is_that_of_one_peer() -> None:
    kinds = {
        "mean": TensorKind.MEAN,
        "variance": TensorKind.VARIANCE,
        "seen": TensorKind.COUNTER,
        "index": TensorKind.STATE,
        "buffer": TensorKind.STATE,
    }
    swarm = MemorySwarm(sync_interval=1, world_size=2, normalization="pooled")
    own = {
        "ada": {"mean": 0.0, "variance": 1.0, "seen": 7, "index": 3, "buffer": 2.5},
        "bob": {"mean": 4.0, "variance": 3.0, "seen": 2**53 + 1, "index": 4, "buffer": 9.0},
    }
    blank = {
        "weight": np.zeros(3, np.float32),
        "mean": np.zeros(2, np.float32),
        "variance": np.ones(2, np.float32),
        "seen": np.array(0, np.int64),
        "index": np.array([0], np.int32),
        "buffer": np.array(0.0),
    }
    peers = [swarm.peer(name, blank, kinds=kinds) for name in own]

    def step(peer: SwarmPeer) -> None:
        for name, value in own[peer.name].items():
            peer.arrays[name][...] = value

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        peer.session.end()

    together(*(partial(train, peer) for peer in peers))
    for peer in peers:
        assert peer.arrays["mean"].tolist() == [2.0, 2.0]
        assert peer.arrays["variance"].tolist() == [6.0, 6.0]
        assert peer.arrays["seen"] == 2**53 + 1
        assert peer.arrays["index"].tolist() == [3]
        assert peer.arrays["buffer"] == 2.5


def test_the_distance_leaves_the_side_block_out_and_does_not_overflow() -> None:
    schema = Schema(
        (
            TensorSpec("a", (2,), "float16"),
            TensorSpec("b", (1,), "float64"),
            TensorSpec("m", (1,), "float32", TensorKind.MEAN),
        )
    )
    one, other = ModelState.empty(schema), ModelState.empty(schema)
    for state, values in ((one, ([3e4, 3e4], [0.0], [1.0])), (other, ([-3e4, -3e4], [8e4], [9.0]))):
        for (_, array), value in zip(state.arrays(), values, strict=True):
            array[...] = value
    assert measure(one, other).norm == pytest.approx(np.sqrt(2 * 6e4**2 + 8e4**2), rel=1e-3)


def test_a_difference_in_half_precision_is_not_rounded_before_the_sum_is() -> None:
    schema = Schema((TensorSpec("w", (1,), "bfloat16"),))
    model, old, new = (ModelState.empty(schema) for _ in range(3))
    for state, value in ((model, 1.0), (old, 1.0), (new, 1.0078125 * 2**-9)):
        state.segments["bfloat16"][...] = value
    step = difference(new, old, into=old)
    assert step.segments["bfloat16"].tolist() == [1.0078125 * 2**-9 - 1.0]
    port = ArrayModel({"w": np.ones(1, ml_dtypes.bfloat16)})
    port.add(step)
    assert port.arrays["w"].tobytes() == new.segments["bfloat16"].tobytes()


@pytest.mark.parametrize("reuse", [True, False])
def test_adding_a_difference_keeps_own_steps_and_loads_the_other_statistics(reuse: bool) -> None:
    kinds = {"w": TensorKind.WEIGHT, "seen": TensorKind.COUNTER, "index": TensorKind.STATE}

    def model(w: float, seen: int, index: int) -> ArrayModel:
        values = {"w": np.full(1, w, np.float32), "seen": np.array(seen), "index": np.array(index)}
        return ArrayModel(values, kinds)

    states = []
    for port in (model(9.0, 4, 2), model(20.0, 9, 3)):
        states.append(ModelState.empty(port.schema()))
        port.read(states[-1])
    old, new = states
    own = model(10.0, 5, 1)
    own.add(difference(new, old, into=old if reuse else None))
    assert [array.item() for array in own.arrays.values()] == [21.0, 9, 3]
    assert (old.segments["float32"].item() == 9.0) is not reuse

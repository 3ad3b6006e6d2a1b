"""Sites of several processes in a swarm: what each process ends with, and what it learns when something fails."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm.errors import ConfigurationError, ModelError, RanksError, StartTimeoutError
from swarm.tensors.model import Correction, Evaluation, ModelPort
from swarm.tensors.state import ModelState, TensorKind
from swarm.tensors.training import TrainingState
from swarm.testing.nodes import eventually
from tests.ranks.sites import Rank, Sites, all_of

KINDS = {"mean": TensorKind.MEAN, "n": TensorKind.COUNTER, "table": TensorKind.STATE}


def arrays(value: float) -> dict[str, np.ndarray]:
    return {
        "w": np.full((3, 5), value, np.float32),
        "h": np.full(4, value, np.float16),
        "mean": np.full(5, value, np.float32),
        "n": np.array(int(value)),
        "table": np.array([1, 2, 3]),
        "empty": np.zeros((0, 2), np.float32),
    }


def step(rank: Rank, batch: int) -> None:
    """What all processes of a site do alike, as under DDP."""
    rank.model.arrays["w"] += np.float32(0.25 * (batch % 3))
    rank.model.arrays["n"] += 1


def trained(batches: int):
    def program(rank: Rank) -> Rank:
        rank.train(batches, step)
        return rank

    return program


def digest(model: ModelPort) -> str:
    state = ModelState.empty(model.schema())
    model.read(state)
    return state.digest()


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("normalization", ["pooled", "silobn"])
def test_all_processes_of_all_sites_end_alike(overlap: bool, normalization: str) -> None:
    sites = Sites(world_size=3, sync_interval=3, overlap=overlap, normalization=normalization)
    given = {"kinds": KINDS}
    cyd = sites.peer("cyd", arrays(9), kinds=KINDS)

    def alone() -> None:
        def one(peer) -> None:
            peer.arrays["w"] += 1

        cyd.train(11, one)

    ada, bob = sites.site("ada", arrays(1), **given), sites.site("bob", arrays(5), size=3, **given)
    *ranks, _ = all_of((ada, trained(11)), (bob, trained(20)), alone)
    for rank in ranks:
        assert rank.session.over
        assert rank.session.metrics() == ranks[0 if rank in ranks[:2] else 2].session.metrics()
        assert len(rank.opened) == 1
        weights = {name: array for name, array in rank.model.arrays.items() if name not in ("mean", "n")}
        assert all(np.array_equal(array, cyd.arrays[name]) for name, array in weights.items())
    assert len({digest(rank.model) for rank in ranks[:2]}) == 1
    assert len({digest(rank.model) for rank in ranks[2:]}) == 1
    assert (digest(ranks[0].model) == digest(cyd.model)) is (normalization == "pooled")


def test_a_site_that_comes_late_loads_the_model_in_all_its_processes() -> None:
    sites = Sites(min_peers=1, sync_interval=2, straggler_timeout=0.5)
    cyd = sites.peer("cyd", arrays(9), kinds=KINDS)
    go, come = threading.Event(), threading.Event()

    def first() -> None:
        cyd.session.begin()
        cyd.go_on(4, lambda peer: None)
        come.set()
        go.wait(20)
        cyd.session.end()

    def late(rank: Rank) -> np.ndarray:
        come.wait(20)
        rank.session.begin()
        begun = rank.model.arrays["w"].copy()
        go.set()
        rank.go_on(4, step)
        rank.session.end()
        return begun

    first_weights, second_weights, _ = all_of((sites.site("ada", arrays(1), kinds=KINDS), late), first)
    assert (first_weights == 9).all()
    assert (second_weights == 9).all()


def test_the_others_are_told_to_wait_before_their_time_out() -> None:
    sites = Sites(world_size=2, sync_interval=2, normalization="pooled")
    cyd = sites.peer("cyd", arrays(9), kinds=KINDS)
    ada = sites.site("ada", arrays(1), kinds=KINDS, time_out=0.1)

    def slow() -> None:
        cyd.session.begin()
        before = meeting().operations
        eventually(lambda: meeting().operations > before + 20, "the processes of ada hear of each other")
        cyd.go_on(2, lambda peer: None)
        cyd.session.end()

    seen: list[Rank] = []

    def meeting():
        return seen[0].group._meeting

    def program(rank: Rank) -> Rank:
        seen.append(rank)
        return trained(2)(rank)

    first, second, _ = all_of((ada, program), slow)
    assert digest(first.model) == digest(second.model) == digest(cyd.model)


def test_a_start_that_fails_fails_in_all_processes() -> None:
    sites = Sites(world_size=2, start_timeout=0.2)

    def program(rank: Rank) -> str:
        with pytest.raises(StartTimeoutError) as caught:
            rank.session.begin()
        return str(caught.value)

    first, second = all_of((sites.site("ada", arrays(1), kinds=KINDS), program))
    assert first == second


def failing(kind: type[Exception], message: str):
    def program(rank: Rank) -> None:
        with pytest.raises(kind, match=message):
            rank.session.begin()
        assert rank.opened[0].status() == {}

    return program


@pytest.mark.parametrize(
    ("setting", "values"), [("rank", (0, 1)), ("sync_interval", (4, 8)), ("local", ((), ("table",)))]
)
def test_processes_under_other_settings_are_refused(setting: str, values) -> None:
    sites = Sites(min_peers=1, world_size=2)
    site = sites.site("ada", arrays(1), kinds=KINDS, per_rank=lambda rank: {setting: values[rank]})
    all_of((site, failing(ConfigurationError, f"rank 1 of this site has {setting}=.* and rank 0 has {setting}=")))


class Odd(ModelPort):
    """A model with other tensors, or one that cannot be merged."""

    def __init__(self, rank: int, model: ModelPort, error: str) -> None:
        self._rank, self._model, self._error = rank, model, error

    def schema(self):
        schema = self._model.schema()
        if self._rank and self._error:
            raise ModelError(self._error)
        return type(schema)(schema.tensors[: len(schema.tensors) - self._rank])

    def read(self, into):
        self._model.read(into)

    def write(self, state):
        self._model.write(state)


@pytest.mark.parametrize(("error", "message"), [("", "rank 1 .* other tensors"), ("it is sparse", "it is sparse")])
def test_processes_with_other_models_are_refused(error: str, message: str) -> None:
    sites = Sites(min_peers=1)
    site = sites.site("ada", arrays(1), kinds=KINDS, port=lambda rank, model: Odd(rank, model, error))
    all_of((site, failing(ModelError, message)))


def test_a_process_that_ends_takes_its_site_out_and_the_other_sites_go_on() -> None:
    sites = Sites(min_peers=1, world_size=2, sync_interval=2, straggler_timeout=0.5)
    cyd = sites.peer("cyd", arrays(9), kinds=KINDS)
    gone = threading.Event()

    def other() -> None:
        cyd.session.begin()
        gone.wait(20)
        eventually(lambda: not cyd.live, "ada has left")
        cyd.go_on(4, lambda peer: None)
        cyd.session.end()

    def program(rank: Rank) -> None:
        rank.session.begin()
        if rank.group.rank:
            eventually(lambda: rank.opened[0].status()["status"] == "waiting", "rank 0 waits for the swarm")
            gone.set()
            rank.group.close()  # as the end of a process does
            return
        with pytest.raises(RanksError):
            rank.go_on(2, step)
        assert rank.session.over

    all_of((sites.site("ada", arrays(1), kinds=KINDS, time_out=0.1), program), other)
    assert cyd.reports[-1].group == ("cyd",)
    assert any("ada left (a process of this site is gone)" in line for line in cyd.lines)


@pytest.mark.parametrize("leaving", [0, 1])
def test_a_process_that_leaves_does_not_leave_the_others_waiting(leaving: int) -> None:
    sites = Sites(min_peers=1, world_size=1, sync_interval=2)

    def program(rank: Rank) -> None:
        rank.session.begin()
        if rank.group.rank == leaving:
            rank.session.abort("a broken image")
            return
        with pytest.raises(RanksError):
            rank.go_on(2, step)
        assert rank.session.over

    ada = sites.site("ada", arrays(1), kinds=KINDS, time_out=0.1)
    all_of((ada, program))


def test_all_learn_whether_to_train_on_for_other_sites() -> None:
    sites = Sites(world_size=2, sync_interval=2, train_until="all")
    cyd = sites.peer("cyd", arrays(9), kinds=KINDS)

    def longer() -> None:
        cyd.session.begin()
        cyd.go_on(12, lambda peer: None)
        while cyd.session.extend():
            cyd.go_on(2, lambda peer: None)
        cyd.session.end()

    def program(rank: Rank) -> int:
        rank.session.begin()
        rank.go_on(2, step)
        epochs = 0
        while rank.session.extend():
            epochs += 1
            rank.go_on(2, step)
        assert rank.session.all_done
        rank.session.end()
        return epochs

    first, second, _ = all_of((sites.site("ada", arrays(1), kinds=KINDS), program), longer)
    assert first == second > 0


def test_all_learn_that_training_ends_because_models_get_no_better() -> None:
    def program(rank: Rank) -> int:
        rank.session.begin()
        batches = 0
        while not rank.session.should_stop:
            rank.go_on(2, step)
            batches += 2
        rank.session.end()
        return batches

    sites = Sites(min_peers=1, world_size=1, sync_interval=2, patience=2)
    first, second = all_of(
        (sites.site("ada", arrays(1), kinds=KINDS, evaluate=lambda rank: lambda: Evaluation(1.0)), program)
    )
    assert first == second > 2


class Optimizer(TrainingState):
    """A counter and a momentum, as an optimizer has them."""

    def __init__(self, odd: bool = False) -> None:
        self.state = {"step": 0, "m": np.zeros((2, 2), np.float32), "groups": [(0.1, None)]}
        self.odd = odd

    def read(self):
        return {**self.state, "m": self.state["m"].copy()}

    def write(self, state):
        if self.odd:
            raise ModelError("it is of another optimizer")
        self.state = state

    def common(self):
        return Steps(self)


class Steps(TrainingState):
    """The counter alone, which all processes have alike."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def read(self):
        return self.optimizer.state["step"]

    def write(self, state):
        self.optimizer.state["step"] = state


@pytest.mark.parametrize("odd", [False, True])
def test_a_resumed_site_has_its_optimizers_and_its_progress_in_all_processes(tmp_path, odd: bool) -> None:
    def site(optimizers, **settings):
        given = {"model_dir": tmp_path, "checkpoint_seconds": 0, **settings}
        sites = Sites(min_peers=1, world_size=1, sync_interval=2)
        return sites.site("ada", arrays(1), kinds=KINDS, training=lambda rank: optimizers[rank], **given)

    def interrupted(rank: Rank) -> None:
        rank.session.begin()
        optimizer = first[rank.group.rank]
        for _ in range(3):
            optimizer.state["step"] += 2
            optimizer.state["m"] += 0.5
            rank.go_on(2, step)
        rank.session.abort("it was ended")

    def resumed(rank: Rank):
        rank.session.begin()
        found = rank.session.resumed, rank.session.round, rank.model.arrays["w"].copy()
        rank.session.end()
        return found

    first, second = [Optimizer(), Optimizer()], [Optimizer(odd), Optimizer(odd)]
    all_of((site(first), interrupted))
    (one, number, weights), (other, same, others) = all_of((site(second, resume=True), resumed))
    assert one == other
    assert bool(one)
    assert number == same
    assert np.array_equal(weights, others)
    for optimizer in second:
        assert optimizer.state["step"] == (0 if odd else one.batches)
        assert (optimizer.state["m"] == (0 if odd else 0.25 * one.batches)).all()
        assert optimizer.state["groups"] == [(0.1, None)]


@pytest.mark.parametrize("has_all", [False, True])
def test_a_resumed_site_with_shards_has_what_is_alike_in_all_processes(tmp_path, has_all: bool) -> None:
    def site(optimizers, **settings):
        given = {"model_dir": tmp_path, "checkpoint_seconds": 0, **settings}
        given |= {"has_all": True, "exchange_shards": 2} if has_all else {}
        sites = Sites(min_peers=1, world_size=1, sync_interval=2)
        return sites.site("ada", arrays(1), kinds=KINDS, sharded=True, training=lambda rank: optimizers[rank], **given)

    def interrupted(rank: Rank) -> None:
        rank.session.begin()
        for _ in range(3):
            first[rank.group.rank].state["step"] += 2
            first[rank.group.rank].state["m"] += rank.group.rank + 1
            rank.go_on(2, step)
        rank.session.abort("it was ended")

    def resumed(rank: Rank):
        rank.session.begin()
        found = rank.session.resumed
        rank.session.end()
        return found

    first, second = [Optimizer(), Optimizer()], [Optimizer(), Optimizer()]
    all_of((site(first), interrupted))
    (one, other) = all_of((site(second, resume=True), resumed))
    assert one == other
    assert one.batches > 0
    for optimizer in second:
        assert optimizer.state["step"] == one.batches
        assert not optimizer.state["m"].any()


def evaluations(rank: int):
    """Of 10 samples with loss 1 in rank 0, and of 30 with loss 3 in rank 1; rank 2 has no data."""
    found = [Evaluation(1.0, {"accuracy": 0.5}, 10), Evaluation(3.0, {"accuracy": 0.9, "more": 1.0}, 30)]
    return None if rank == 2 else lambda: found[rank]


def test_each_process_evaluates_its_own_data() -> None:
    sites = Sites(min_peers=1, world_size=1, sync_interval=2)
    ranks = all_of((sites.site("ada", arrays(1), kinds=KINDS, size=3, evaluate=evaluations), trained(4)))
    for rank in ranks:
        metrics = rank.session.metrics()
        assert metrics["swarm_val_loss"] == 2.5
        assert metrics["swarm_val_accuracy"] == pytest.approx(0.8)
        assert "swarm_val_more" not in metrics


def test_processes_that_all_have_the_same_data_find_what_one_finds() -> None:
    loss = 0.1 + 0.2
    sites = Sites(min_peers=1, world_size=1, sync_interval=2)
    same = lambda rank: lambda: Evaluation(loss, {}, 7)  # noqa: E731
    ranks = all_of((sites.site("ada", arrays(1), kinds=KINDS, size=3, evaluate=same), trained(2)))
    assert {rank.session.metrics()["swarm_val_loss"] for rank in ranks} == {loss}


@pytest.mark.parametrize("broken", [0, 1])
def test_a_validation_that_fails_in_one_process_is_logged_and_training_goes_on(broken: int) -> None:
    def evaluate(rank: int):
        def run() -> Evaluation:
            if rank == broken:
                raise ValueError("a broken image")
            return Evaluation(1.0)

        return run

    sites = Sites(min_peers=1, world_size=1, sync_interval=2)
    first, second = all_of((sites.site("ada", arrays(1), kinds=KINDS, evaluate=evaluate), trained(4)))
    text = f"validation of the merged model failed, training goes on: RuntimeError: rank {broken} of this site: "
    assert any(f"{text}ValueError: a broken image" in line for line in first.lines)
    assert digest(first.model) == digest(second.model)


def test_a_sharded_model_is_evaluated_by_all_or_none() -> None:
    sites = Sites(min_peers=1, world_size=1)
    site = sites.site(
        "ada", arrays(1), kinds=KINDS, sharded=True, evaluate=lambda rank: None if rank else lambda: Evaluation(1.0)
    )
    all_of((site, failing(ConfigurationError, "val_data is given in some processes .*ranks 0 and 1 differ")))


def test_all_processes_take_part_where_a_sharded_model_is_read() -> None:
    sites = Sites(min_peers=1, world_size=1, sync_interval=2, normalization="pooled")
    ports: dict[int, ArrayReads] = {}

    def port(rank: int, model: ModelPort) -> ModelPort:
        ports[rank] = ArrayReads(model)
        return ports[rank]

    first, second = all_of((sites.site("ada", arrays(1), kinds=KINDS, sharded=True, port=port), trained(4)))
    assert len(second.reads) == ports[0].reads > 2
    assert (ports[0].borrowed, ports[1].reads, first.reads) == (0, 0, [])


class ArrayReads(ModelPort):
    """Counts how often a model is read."""

    def __init__(self, model: ModelPort) -> None:
        self._model = model
        self.reads = self.borrowed = 0

    def schema(self):
        return self._model.schema()

    def read(self, into):
        self.reads += 1
        self._model.read(into)

    def borrow(self, schema):
        self.borrowed += 1
        return self._model.borrow(schema)

    def write(self, state):
        self._model.write(state)


class Followed(Correction):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, int]] = []
        self.stopped = False

    def follow(self, committed, *, unmerged):
        values = {spec.name: array.copy() for spec, array in committed.arrays()}
        self.told.append((float(values["w"].sum()), unmerged))

    def stop(self):
        self.stopped = True


def test_what_changes_the_gradients_follows_the_committed_models_in_all_processes() -> None:
    corrections = [Followed(), Followed()]
    sites = Sites(min_peers=1, world_size=1, sync_interval=2)
    all_of((sites.site("ada", arrays(1), kinds=KINDS, correction=lambda rank: corrections[rank]), trained(5)))
    first, second = corrections
    assert first.told == second.told
    assert len(first.told) > 2
    assert (first.stopped, second.stopped) == (True, True)

"""Models of which each process has a shard: what is read, and which part of a whole tensor each process takes."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore

from swarm.config import Settings
from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch import TorchPort, ranks_of, shared_part
from swarm.pytorch.arrays import memory
from swarm.pytorch.entry import Entry
from swarm.pytorch.shard_port import TorchShardPort
from swarm.pytorch.shards import is_sharded
from swarm.pytorch.training_state import TorchTrainingState
from swarm.ranks import ONE_PROCESS, SeveralProcesses
from swarm.ranks.layout import Layout
from swarm.records import Resumed
from swarm.storage.training import Training, read_training, write_training
from swarm.tensors.selection import Selection
from swarm.tensors.state import ModelState


@pytest.fixture
def alone():
    """A process group of this process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture
def as_rank():
    """Makes this process one of several, of which the others are not there."""

    def begin(rank: int, size: int) -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)

    yield begin
    distributed.destroy_process_group()


def net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3), nn.Linear(3, 1))


def sharded(size: int = 1) -> nn.Module:
    # torch keeps what it has computed for a mesh: each rank that this process plays needs one of its own
    names = (f"rank_{distributed.get_rank()}",)
    model, mesh = net(), init_device_mesh("cpu", (size,), mesh_dim_names=names)
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def state_of(model: nn.Module) -> ModelState:
    port = TorchPort(model)
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


@pytest.mark.usefixtures("alone")
def test_a_sharded_model_is_the_same_as_the_whole_one():
    model = sharded()
    assert any(map(is_sharded, model.parameters()))
    assert TorchPort(model).schema() == TorchPort(net()).schema()
    assert state_of(model).digest() == state_of(net()).digest()
    assert TorchPort(model).borrow(TorchPort(model).schema()) is None


def parallel() -> nn.Module:
    """The same model, with tensor parallelism."""
    names = (f"parallel_{distributed.get_rank()}",)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),), mesh_dim_names=names)
    return parallelize_module(net(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("make", [sharded, parallel])
def test_frozen_weights_that_are_sharded_are_the_same_as_whole_ones(make):
    models = [make(), net(), net()]
    with torch.no_grad():
        models[2][0].weight[0, 0] += 1
    facts = []
    for model in models:
        model[0].requires_grad_(requires_grad=False)
        selection = Selection()
        facts.append(shared_part(model, Settings(trainable_only=True), selection, logging.getLogger("test")).facts)
    assert is_sharded(models[0][0].weight)
    assert facts[0] == facts[1] != facts[2]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("operation", ["write", "update", "add"])
def test_what_is_set_counts_in_the_next_forward_pass(operation: str):
    torch.manual_seed(9)
    other, x = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3), nn.Linear(3, 1)), torch.randn(5, 4)
    model, whole = sharded().eval(), net().eval()
    with torch.no_grad():
        model(x)  # FSDP2 keeps the whole parameters of the root after a pass without gradients
    parameters = [*model.parameters()]
    for each in (model, whole):
        port = TorchPort(each)
        port.schema()
        getattr(port, operation)(state_of(other))
    with torch.no_grad():
        assert torch.equal(model(x), whole(x))
    TorchPort(model).give()
    assert [id(each) for each in parameters] == [id(each) for each in model.parameters()]


@pytest.mark.parametrize("size", [2, 4])
def test_each_process_takes_its_own_part(as_rank, size: int):
    whole = net()
    given = state_of(whole)
    parts: dict[str, list[torch.Tensor]] = {}
    for rank in range(size):
        as_rank(rank, size)
        model = sharded(size)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.to_local().zero_()
        port = TorchPort(model)
        assert port.schema().fingerprint == given.schema.fingerprint
        port.write(given)
        for name, parameter in model.named_parameters():
            parts.setdefault(name, []).append(parameter.to_local().detach().clone())
    for name, parameter in whole.named_parameters():
        assert torch.equal(torch.cat(parts[name]), parameter)


@pytest.mark.parametrize("size", [2, 3])
def test_the_shards_of_all_processes_are_the_model(as_rank, size: int):
    whole = net()
    given = state_of(whole)
    rows, ports, models = [], [], []
    for rank in range(size):
        as_rank(rank, size)
        models.append(sharded(size))
        ports.append(TorchShardPort(TorchPort(models[-1]), rank, size))
        assert ports[-1].whole() == given.schema
        rows.append(ports[-1].rows())
    layout = Layout(given.schema, rows)
    values = {spec.name: array for spec, array in given.arrays()}
    for rank, (port, model) in enumerate(zip(ports, models, strict=True)):
        as_rank(rank, size)
        assert port.schema() == layout.shard(rank)
        state = ModelState.empty(port.schema())
        for place, (spec, array) in zip(layout.places(rank), state.arrays(), strict=True):
            array[...] = values[spec.name][place.start :][: len(array)] if spec.shape else values[spec.name]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.to_local().zero_()
        port.write(state)
        back = ModelState.empty(port.schema())
        port.read(back)
        assert back.digest() == state.digest()
    covered = [sum(place.spec.size for rank in range(size) for place in layout.places(rank))]
    assert covered == [sum(spec.size for spec in given.schema.tensors)]


class Shapes(nn.Module):
    """Weights with few and many rows, with one dimension and more, and what is not sharded."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [*((rows, 3) for rows in range(1, 12)), *((rows,) for rows in (1, 2, 5, 9)), (5, 2, 2, 2)]
        self.weights = nn.ParameterList(torch.zeros(shape) for shape in shapes)
        self.large = nn.Linear(3, 40)
        self.norm = nn.BatchNorm1d(7)
        self.register_buffer("table", torch.arange(4))
        self.register_buffer("number", torch.tensor(1.0))


@pytest.mark.parametrize("size", [2, 3, 4, 7, 10])
def test_the_layout_for_a_number_of_shards_is_that_of_fully_shard(as_rank, size: int):
    rows = []
    for rank in range(size):
        as_rank(rank, size)
        mesh = init_device_mesh("cpu", (size,), mesh_dim_names=(f"rank_{rank}",))
        model = Shapes()
        fully_shard(model.large, mesh=mesh)
        fully_shard(model, mesh=mesh)
        rows.append(TorchShardPort(TorchPort(model), rank, size).rows())
    whole = TorchPort(Shapes()).schema()
    assert Layout.even(whole, size).rows == Layout(whole, rows).rows
    assert Layout.even(whole, size).told == Layout(whole, rows).told
    assert 0 in rows[-1]
    assert None in rows[0]


@pytest.mark.parametrize("kind", [partial(torch.optim.Adam, lr=0.1), partial(torch.optim.SGD, lr=0.1, momentum=0.9)])
@pytest.mark.parametrize("size", [2, 3])
def test_each_process_gets_the_state_of_its_shards_back(as_rank, tmp_path, kind, size: int):
    logger = logging.getLogger("test")

    def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
            shard = parameter.grad.to_local()
            shard.copy_(torch.randn(shard.shape, generator=generator))
        optimizer.step()

    for rank in range(size):
        as_rank(rank, size)
        models = [sharded(size), sharded(size)]
        optimizers = [kind(model.parameters()) for model in models]
        stepped(models[0], optimizers[0], rank)
        state = TorchTrainingState([optimizers[0]], (), logger).read()
        write_training(tmp_path / "state", Training(Resumed(round=1), state))
        with torch.no_grad():
            for mine, theirs in zip(models[1].parameters(), models[0].parameters(), strict=True):
                mine.to_local().copy_(theirs.to_local())
        TorchTrainingState([optimizers[1]], (), logger).write(read_training(tmp_path / "state").state)
        for model, optimizer in zip(models, optimizers, strict=True):
            stepped(model, optimizer, rank + 10)
        for mine, theirs in zip(models[1].parameters(), models[0].parameters(), strict=True):
            assert torch.equal(mine.to_local(), theirs.to_local())
            moments = [
                {name: value for name, value in optimizer.state[weight].items() if is_sharded(value)}
                for optimizer, weight in zip(optimizers, (theirs, mine), strict=True)
            ]
            assert moments[0].keys() == moments[1].keys() != set()
            for name, value in moments[0].items():
                assert value.shape == moments[1][name].shape
                assert torch.equal(value.to_local(), moments[1][name].to_local())


def test_the_state_of_a_sharded_training_is_not_set_in_one_that_is_not(as_rank):
    as_rank(0, 2)
    model = sharded(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = TorchTrainingState([optimizer], (), logging.getLogger("test")).read()
    other = TorchTrainingState(
        [torch.optim.SGD(net().parameters(), lr=0.1, momentum=0.9)], (), logging.getLogger("test")
    )
    with pytest.raises(ModelError, match="it has shards of tensors, which do not fit the model here"):
        other.write(state)


class Average:
    """Of the weights of a model, in shards."""

    def __init__(self, model: nn.Module) -> None:
        self.state = {"number": 0, "weights": [parameter.detach().clone() for parameter in model.parameters()]}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state) -> None:
        self.state = state


class Script:
    """The optimizer of a sharded model, a schedule and an average of the weights, after some steps."""

    def __init__(self, size: int, steps: int, *, momentum: float = 0.9, rate: float | torch.Tensor = 0.1) -> None:
        model = sharded(size)
        kind = torch.optim.SGD if momentum else torch.optim.Adam
        self.optimizer = kind(model.parameters(), lr=rate, **({"momentum": momentum} if momentum else {}))
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.average = Average(model)
        for _ in range(steps):
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            self.optimizer.step()
            self.schedule.step()
            self.average.state["number"] += 1

    def state(self, *stateful: object) -> TorchTrainingState:
        return TorchTrainingState([self.optimizer], stateful or (self.schedule,), logging.getLogger("test"))

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


def there_and_back(tmp_path, state):
    write_training(tmp_path / "state", Training(Resumed(round=1), state))
    return read_training(tmp_path / "state").state


@pytest.mark.parametrize("from_parts", [False, True])
def test_a_schedule_goes_on_where_each_process_has_a_part_of_the_optimizer(as_rank, tmp_path, caplog, from_parts: bool):
    as_rank(1, 2)
    before, after = Script(2, 5), Script(2, 0)
    read = before.state() if from_parts else before.state().common()
    written = after.state().common() if from_parts else after.state()
    with caplog.at_level(logging.WARNING):
        written.write(there_and_back(tmp_path, read.read()))
    assert before.rate == after.rate == 0.025
    assert after.schedule.last_epoch == 5
    assert not any(after.optimizer.state.values())
    (said,) = caplog.messages
    assert said.startswith("resume: the state of SGD begins anew, and its learning rate goes on, because each process")


def test_what_has_no_part_in_any_process_is_not_said_to_begin_anew(as_rank, tmp_path, caplog):
    as_rank(0, 2)
    before, after = Script(2, 0), Script(2, 0)
    before.optimizer.param_groups[0]["weight_decay"] = 0.5
    with caplog.at_level(logging.WARNING):
        after.state().common().write(there_and_back(tmp_path, before.state().common().read()))
    assert not caplog.records
    assert after.optimizer.param_groups[0]["weight_decay"] == 0.5


def test_a_learning_rate_that_is_a_tensor_stays_that_one(as_rank, tmp_path):
    as_rank(0, 2)
    scripts = [Script(2, steps, momentum=0.0, rate=torch.tensor(0.1)) for steps in (5, 0)]
    rate = scripts[1].optimizer.param_groups[0]["lr"]
    scripts[1].state().common().write(there_and_back(tmp_path, scripts[0].state().common().read()))
    assert scripts[1].optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.025)


@pytest.mark.parametrize("from_parts", [False, True])
def test_an_object_with_shards_begins_anew(as_rank, tmp_path, caplog, from_parts: bool):
    as_rank(0, 2)
    before, after = Script(2, 5), Script(2, 0)
    read = before.state(before.schedule, before.average)
    written = after.state(after.schedule, after.average).common()
    with caplog.at_level(logging.WARNING):
        written.write(there_and_back(tmp_path, (read if from_parts else read.common()).read()))
    assert "the state of Average begins anew, because each process" in caplog.text
    assert after.schedule.last_epoch == 5
    assert after.average.state["number"] == 0


def test_other_groups_of_parameters_are_refused(as_rank, tmp_path):
    as_rank(0, 2)
    before, after = Script(2, 1), Script(2, 0)
    after.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    with pytest.raises(ModelError, match="SGD had 1 groups of parameters, and has 2 now"):
        after.state().write(there_and_back(tmp_path, before.state().common().read()))


class OnGpu(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    is_cuda = True


class Copies:
    """Stands for what copies from a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def begin(self) -> None: ...

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        target.copy_(source.as_subclass(torch.Tensor))

    def end(self) -> None: ...


def test_a_shard_on_a_gpu_is_read_as_a_whole_model_there_is(as_rank, monkeypatch):
    as_rank(0, 2)
    port = TorchShardPort(TorchPort(sharded(2)), 0, 2)
    first, second = ModelState.empty(port.schema()), ModelState.empty(port.schema())
    port.read(first)
    monkeypatch.setattr("swarm.pytorch.port.Staging", Copies)
    monkeypatch.setattr(Entry, "values", property(lambda entry: entry.tensor.as_subclass(OnGpu)))
    port.read(second)
    assert second.digest() == first.digest()


def test_a_process_without_a_part_is_refused(as_rank):
    rows = []
    for rank in range(4):
        as_rank(rank, 4)
        port = TorchShardPort(TorchPort(sharded(4)), rank, 4)
        whole = port.whole()
        rows.append(port.rows())
    with pytest.raises(ConfigurationError, match="of 4 shards, that of rank 3 has no part of the model"):
        Layout(whole, rows)


def test_what_is_not_sharded_by_rows_over_all_processes_is_refused(as_rank):
    as_rank(0, 4)
    model = net()
    fully_shard(model, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("copies", "shards")))
    with pytest.raises(ConfigurationError, match=r"exchange_shards=True is not possible here: '0.weight' is not"):
        TorchShardPort(TorchPort(model), 0, 4).rows()


def test_shards_without_elements_are_told_apart(as_rank):
    as_rank(3, 4)
    model = sharded(4)
    one, other = model[2].bias, model[3].bias
    assert one.to_local().numel() == other.to_local().numel() == 0
    assert memory(one) != memory(other)
    assert len(TorchPort(model).schema().tensors) == len(TorchPort(net()).schema().tensors)


def test_the_processes_of_a_site_are_those_of_the_group(as_rank):
    as_rank(1, 2)
    for model in (net(), sharded(2)):
        assert isinstance(ranks_of(model, TorchPort(model), Settings()), SeveralProcesses)


@pytest.mark.usefixtures("alone")
def test_a_group_of_one_process_is_a_site_of_one():
    model = sharded()
    assert ranks_of(model, TorchPort(model), Settings()) is ONE_PROCESS


def test_without_a_group_a_site_has_one_process():
    model = net()
    assert ranks_of(model, TorchPort(model), Settings(scaffold=True)) is ONE_PROCESS


def over_copies() -> nn.Module:
    """Sharded over two of four processes, of which the others have a copy."""
    model = net()
    fully_shard(model, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("copies", "shards")))
    return model


@pytest.mark.parametrize(
    ("make", "size", "asked", "each"),
    [
        (lambda: sharded(2), 2, True, True),
        (lambda: sharded(2), 2, 2, True),
        (lambda: sharded(2), 2, 3, False),
        (net, 2, 2, False),
        (over_copies, 4, 4, False),
    ],
)
def test_each_process_exchanges_its_shard_where_it_has_one_of_as_many(as_rank, make, size: int, asked, each: bool):
    as_rank(0, size)
    model = make()
    ranks = ranks_of(model, TorchPort(model), Settings(exchange_shards=asked))
    assert (ranks._exchange.port is not None) is each


def test_shards_of_one_process_need_a_number(tmp_path):
    settings = Settings(exchange_shards=True)
    with pytest.raises(ConfigurationError, match="exchange_shards=True is not possible: .*as in exchange_shards=2, or"):
        ONE_PROCESS.session(lambda parts: None, None, settings, logging.getLogger("test"))


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (
            net,
            {"exchange_shards": True},
            "the model here is not sharded over several processes .*exchange_shards=2, or",
        ),
        (net, {"exchange_shards": 2, "proximal": 0.1}, "exchange_shards=2 is not possible: proximal=0.1 needs whole"),
        (net, {"exchange_shards": 2, "screen": "distances"}, "screen='distances' compares whole contributions"),
        (net, {"exchange_shards": 2, "optimizer_state": "merge"}, "optimizer_state='merge' needs whole weights"),
        (net, {"scaffold": True}, "scaffold=True cannot be used with a site of several processes"),
        (lambda: sharded(2), {"proximal": 0.1}, "proximal=0.1 cannot be used with a model that is sharded"),
        (
            lambda: sharded(2),
            {"optimizer_state": "merge"},
            "optimizer_state='merge' cannot be used with a model that is",
        ),
    ],
)
def test_what_several_processes_cannot_do_is_refused(as_rank, make, settings, message: str):
    as_rank(0, 2)
    model = make()
    with pytest.raises(ConfigurationError, match=message):
        ranks_of(model, TorchPort(model), Settings(**settings))


def test_a_complex_weight_that_is_sharded_is_refused(as_rank):
    as_rank(0, 2)
    model = nn.ParameterDict({"w": torch.zeros(4, dtype=torch.complex64)})
    fully_shard(model, mesh=init_device_mesh("cpu", (2,), mesh_dim_names=("complex",)))
    with pytest.raises(ModelError, match="'w' is complex, and sharded over several processes: use DistributedData"):
        TorchPort(model).schema()

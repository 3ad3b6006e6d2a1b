"""Models under FSDP1 and of DeepSpeed: what is read, what counts after it was set, and what is refused."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.testing._internal.distributed.fake_pg import FakeStore

from swarm import SwarmCallback
from swarm.config import Settings
from swarm.errors import ConfigurationError, ModelError
from swarm.pytorch import TorchPort, ranks_of
from swarm.pytorch.evaluation import TorchEvaluator
from swarm.pytorch.flattened import acts_together, unsupported, unsupported_parameter, whole_parameters
from swarm.pytorch.names import unwrap
from swarm.pytorch.optimizers import without_deepspeed
from swarm.pytorch.trained_part import frozen_digest
from swarm.pytorch.training_state import TorchTrainingState
from swarm.ranks import ONE_PROCESS, SeveralProcesses
from swarm.tensors.state import ModelState

CPU = torch.device("cpu")
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")

pytestmark = pytest.mark.timeout(300)  # processes begin with imports of torch, and DeepSpeed may have to compile


def net(seed: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3), nn.Linear(3, 1))


def state_of(model: nn.Module) -> ModelState:
    port = TorchPort(model)
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def _process(rank: int, work: Callable[[int], None], path: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    work(rank)
    distributed.barrier()
    distributed.destroy_process_group()
    gc.collect()  # models hold groups, in cycles, whose threads may free tensors while Python ends: that aborts it


@pytest.fixture
def in_two(tmp_path):
    """Calls a function with the rank in each of two processes with a process group."""

    def call(work: Callable[[int], None]) -> None:
        multiprocessing.spawn(_process, (work, str(tmp_path / "store")), nprocs=2)

    return call


@pytest.fixture
def as_rank():
    """Makes this process one of several, of which the others are not there."""

    def begin(rank: int, size: int) -> None:
        distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)

    yield begin
    distributed.destroy_process_group()


def flat(model: nn.Module, **options) -> FullyShardedDataParallel:
    return FullyShardedDataParallel(
        model, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), device_id=CPU, **{"use_orig_params": False, **options}
    )


def whole_weights(model: nn.Module) -> list[torch.Tensor]:
    with whole_parameters(model, everywhere=True):
        return [each.detach().clone() for each in unwrap(model).parameters()]


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(7)
    x = torch.randn(8, 4)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def require_same_as_whole(options: dict, rank: int) -> None:
    model, whole = flat(net(), **options), net()
    assert acts_together(model)
    port, other = TorchPort(model), TorchPort(whole)
    assert port.schema() == other.schema()
    assert port.borrow(port.schema()) is None
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (model, whole)]
    parameters = [*map(id, model.parameters())]
    x = torch.randn(5, 4)
    for seed, operation in enumerate(("write", "add", "update", "write"), 20):
        for each, optimizer in zip((model, whole), optimizers, strict=True):
            train(each.train(), optimizer)
        for mine, theirs in zip(whole_weights(model), whole.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            model.eval()(x)  # FSDP1 keeps the whole parameters of the root after a pass without gradients
        given = state_of(net(seed))
        for each in (port, other):
            each.write(given)
            getattr(each, operation)(given)
        if rank:
            port.give()
        else:
            read = ModelState.empty(given.schema)
            port.read(read)
            assert read.digest() == state_of(whole).digest()
        with torch.no_grad():
            assert torch.equal(model.eval()(x), whole.eval()(x))
    evaluate = partial(TorchEvaluator, val_data=(x, torch.zeros(5, 1)), loss_function=nn.MSELoss())
    assert evaluate(model)().loss == evaluate(whole)().loss
    assert [*map(id, model.parameters())] == parameters


def require_all_same_as_whole(rank: int) -> None:
    require_same_as_whole({"use_orig_params": False}, rank)
    require_same_as_whole({"use_orig_params": True, "sharding_strategy": ShardingStrategy.SHARD_GRAD_OP}, rank)
    require_same_as_whole({"sharding_strategy": ShardingStrategy.NO_SHARD}, rank)


def test_a_model_under_fsdp1_is_read_and_set_as_the_whole_one(in_two) -> None:
    in_two(require_all_same_as_whole)


def require_trained_part(rank: int) -> None:
    def with_frozen(model: nn.Module) -> nn.Module:
        model[0].requires_grad_(requires_grad=False)
        return model

    model, whole = flat(with_frozen(net()), use_orig_params=True), with_frozen(net())
    ports = [TorchPort(each, trainable_only=True) for each in (model, whole)]
    assert ports[0].schema() == ports[1].schema()
    assert [*ports[0].parameters()] == [*ports[1].parameters()]
    assert frozen_digest(model) == frozen_digest(whole)


def test_the_frozen_part_of_a_model_under_fsdp1_is_that_of_the_whole_one(in_two) -> None:
    in_two(require_trained_part)


def require_what_is_given(rank: int) -> None:
    for original in (False, True):
        model = flat(net(), use_orig_params=original)
        with pytest.raises(ModelError, match="FullyShardedDataParallel that was not given: give the model with that"):
            TorchPort(model.module).schema()
    with pytest.raises(ModelError, match=r"master_weights is given, .* found without it: leave it out"):
        TorchPort(model, masters={"0.weight": torch.zeros(6, 4)})
    for settings, message in (
        ({"optimizer_state": "reset"}, "optimizer_state='reset' cannot be used .*, or use DistributedDataParallel"),
        ({"proximal": 0.1}, "proximal=0.1 cannot be used with a model under FullyShardedDataParallel"),
        ({"exchange_shards": True}, "exchange_shards=True is not possible: the model here is not sharded over"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            ranks_of(model, TorchPort(model), Settings(**settings))
    ranks = ranks_of(model, TorchPort(model), Settings(exchange_shards=2))
    assert ranks._exchange.port is None
    assert ranks._give is not None


def test_what_cannot_be_done_under_fsdp1_is_refused_with_what_to_use(in_two) -> None:
    in_two(require_what_is_given)


def test_layers_that_are_computed_again_have_the_names_that_they_have_without() -> None:
    model = nn.Sequential(checkpoint_wrapper(nn.Linear(2, 3)), nn.Linear(3, 1))
    names = [spec.name for spec in TorchPort(model).schema().tensors]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]


def engine_of(model: nn.Module, stage: int, *, half: bool = False, momentum: float = 0.0):
    import deepspeed

    config = {
        "train_micro_batch_size_per_gpu": 8,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": half},
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[:2]


def layers(seed: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3), nn.Linear(3, 1))


def require_masters_follow(rank: int) -> None:
    from deepspeed.utils import safe_get_full_fp32_param

    for stage, half in ((1, False), (1, True), (2, True)):
        engine, optimizer = engine_of(layers(), stage, half=half)
        assert acts_together(engine)
        assert isinstance(without_deepspeed(optimizer), torch.optim.SGD)
        port, whole = TorchPort(engine), layers()
        assert port.schema() == TorchPort(engine.module).schema() == TorchPort(whole).schema()
        assert port.borrow(port.schema()) is None

        def step(factor: float, engine=engine) -> None:
            x = torch.randn(8, 4).to(next(engine.module.parameters()).dtype)
            engine.backward(engine(x).float().square().mean() * factor)
            engine.step()

        step(1.0)
        for seed, operation in enumerate(("write", "add", "update"), 20):
            given = state_of(layers(seed))
            for each in (port, TorchPort(whole)):
                each.write(given)
                getattr(each, operation)(given)
            step(0.0)  # sets the parameters from what the optimizer has
            for name, parameter in engine.module.named_parameters():
                expected = whole.get_parameter(name).detach()
                assert torch.equal(safe_get_full_fp32_param(parameter), expected)
                assert torch.equal(parameter, expected.to(parameter.dtype))
            read = ModelState.empty(given.schema)
            port.read(read) if rank == 0 else port.give()
            assert rank or read.digest() == state_of(whole).digest()
        assert isinstance(ranks_of(engine, port, Settings()), SeveralProcesses)
        assert ranks_of(engine, port, Settings())._give is not None
        with pytest.raises(ConfigurationError, match=r"optimizer_state='merge' cannot be used .* or DeepSpeed"):
            ranks_of(engine, port, Settings(optimizer_state="merge"))
        assert SwarmCallback(model=engine, optimizer=optimizer, loopback=True).metrics["swarm_learning_rate"] == 0.1


@needs_deepspeed
def test_what_an_optimizer_of_deepspeed_trains_follows_the_merged_model(in_two) -> None:
    in_two(require_masters_follow)


def require_refused_engines(rank: int) -> None:
    engine, _ = engine_of(layers(), 0)
    assert not acts_together(engine)
    assert TorchPort(engine).schema() == TorchPort(layers()).schema()
    engine, _ = engine_of(layers(), 0, half=True)
    with pytest.raises(ModelError, match='the model is a DeepSpeedEngine that trains in half .* set "zero_opt'):
        TorchPort(engine).schema()
    engine, _ = engine_of(layers(), 3, half=True)
    for each in (engine, engine.module):
        with pytest.raises(ModelError, match=r"'0.weight' is partitioned by ZeRO-3 of DeepSpeed: use stage 1 or 2, or"):
            TorchPort(each).schema()


@needs_deepspeed
def test_engines_whose_weights_are_elsewhere_are_refused_with_what_to_use(in_two) -> None:
    in_two(require_refused_engines)


def named(name: str, **attributes) -> nn.Module:
    """A module of a class of DeepSpeed, which may not be installed."""
    engine = type("DeepSpeedEngine", (nn.Module,), {"__module__": "deepspeed.runtime.engine"})
    module = type(name, (engine,) if name != "DeepSpeedEngine" else (nn.Module,), {"__module__": "deepspeed.runtime"})()
    for key, value in {"mp_world_size": 1, "has_moe_layers": False, "optimizer": None, **attributes}.items():
        setattr(module, key, value)
    return module


@pytest.mark.parametrize(
    "module",
    [
        named("PipelineEngine"),
        named("DeepSpeedEngine", mp_world_size=2),
        named("DeepSpeedEngine", has_moe_layers=True),
    ],
)
def test_an_engine_that_trains_parts_of_a_model_is_refused(module) -> None:
    assert "with pipeline, tensor or expert parallelism: use data parallelism alone" in str(unsupported(module, ""))
    assert unsupported(named("DeepSpeedEngine"), "") is None


def test_a_parameter_that_only_some_processes_have_is_refused(as_rank) -> None:
    as_rank(0, 4)
    parameter = nn.Parameter(torch.zeros(2))
    parameter._hp_mapping, parameter._dp_group = None, distributed.new_group([0, 1])
    assert "is not in all processes of this site" in str(unsupported_parameter(parameter))
    parameter._dp_group = distributed.group.WORLD
    assert unsupported_parameter(parameter) is None


def test_a_setting_that_needs_the_optimizer_is_refused_in_one_process_as_well() -> None:
    model = nn.Linear(2, 1)
    assert ranks_of(model, TorchPort(model), Settings(proximal=0.1)) is ONE_PROCESS
    model.weight._hp_mapping = None
    with pytest.raises(ConfigurationError, match="proximal=0.1 cannot be used with a model under"):
        ranks_of(model, TorchPort(model), Settings(proximal=0.1))


def test_a_checkpoint_has_what_all_processes_have_alike(as_rank):
    as_rank(0, 2)
    model = flat(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    state = TorchTrainingState([optimizer], [schedule, model], logging.getLogger("test")).common().read()
    ((kind, groups),) = state["optimizers"]
    assert (kind, groups["param_groups"][0]["lr"]) == ("SGD", 0.5)
    assert [kind for kind, found in state["stateful"] if found] == ["StepLR"]  # all would take part in reading a model

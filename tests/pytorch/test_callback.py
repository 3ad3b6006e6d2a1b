from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarm.callback import CallbackArguments, parse_arguments
from swarm.config import Settings
from swarm.errors import ConfigurationError, StartTimeoutError, SwarmError
from swarm.pytorch import TorchCallback, TorchPort, evaluator_for
from swarm.testing.swarm import together


@pytest.fixture
def callback_class(recording_session):
    return type("Recorded", (TorchCallback,), {"session_factory": recording_session})


@pytest.fixture
def make(callback_class):
    def make(settings: Settings | None = None, **arguments):
        arguments.setdefault("model", nn.Linear(2, 1))
        return callback_class.from_arguments(arguments_of(settings, **arguments))

    return make


def arguments_of(settings: Settings | None = None, **given) -> CallbackArguments:
    names = ("model", "val_data", "optimizer", "loss_function", "metric_function", "logger")
    return CallbackArguments(settings=settings or Settings(loopback=True), **(dict.fromkeys(names) | given))


def test_every_third_batch_merges_and_the_rest_is_counted(make):
    callback = make()
    callback.on_train_begin()
    for epoch in range(2):
        for _ in range(4):
            callback.on_batch_end()
        if epoch == 0:
            callback.on_epoch_end(epoch)
    callback.on_train_end()  # counts the last two batches, which no end of an epoch has counted
    assert callback.session.calls == [
        ("begin",),
        ("merge", 3, None),
        ("epoch", 0, 1),
        ("merge", 3, None),
        ("end", 2),
    ]


def test_the_loss_is_read_at_the_merge(make):
    callback = make()
    callback.on_train_begin()
    for batch in range(3):
        callback.on_batch_end(batch, loss=torch.tensor(float(batch), requires_grad=True))
    assert callback.session.calls[-1] == ("merge", 3, 2.0)


@pytest.mark.parametrize("loss", ["low", {"loss": 1.0}, (1.0, 2.0)], ids=str)
def test_a_loss_that_is_no_number_is_named_once_and_ignored(make, caplog, loss):
    callback = make()
    callback.on_train_begin()
    for batch in range(6):
        callback.on_batch_end(batch, loss=loss)
    assert callback.session.calls[1:] == [("merge", 3, None)] * 2
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("loss is ")


@pytest.mark.parametrize("loss", [2, torch.tensor([1, 3]), torch.tensor(2.0), np.float32(2)], ids=str)
def test_every_number_is_a_loss(make, loss):
    callback = make()
    callback.on_train_begin()
    for batch in range(3):
        callback.on_batch_end(batch, loss=loss)
    assert callback.session.calls[-1] == ("merge", 3, 2.0)


@pytest.mark.parametrize("given", [(None, None), (0, 1), (1, 2), (0, None), (1, None)], ids=str)
def test_epochs_are_told_from_0_however_the_loop_counts_them(make, given):
    callback = make()
    for _ in range(2):
        callback.on_train_begin()
        for epoch in given:
            callback.on_epoch_end(epoch)
        callback.on_train_end()
        assert [call[1] for call in callback.session.calls if call[0] == "epoch"] == [0, 1]


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end", "on_train_end"])
def test_a_hook_before_on_train_begin_is_an_error(make, hook):
    with pytest.raises(SwarmError, match=f"{hook} was called before on_train_begin"):
        getattr(make(), hook)()


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end", "on_train_end"])
def test_a_hook_after_on_train_end_is_an_error(make, hook):
    callback = make()
    callback.on_train_begin()
    callback.on_train_end()
    with pytest.raises(SwarmError, match=f"{hook} was called after the run had ended"):
        getattr(callback, hook)()


def test_a_second_on_train_begin_is_a_new_run(make, recording_session):
    callback = make()
    callback.on_train_begin()
    callback.on_train_end()
    callback.on_train_begin()
    assert not callback.swarm_over
    callback.on_train_begin()
    ended, left, live = recording_session.opened
    assert [ended.calls[-1][0], left.calls[-1], live.calls] == [
        "end",
        ("abort", "a new run began with the same callback"),
        [("begin",)],
    ]


def test_training_goes_on_locally_once_the_session_is_over(make):
    callback = make()
    callback.on_train_begin()
    callback.session.over = True
    for _ in range(8):
        callback.on_batch_end()
    callback.on_epoch_end(0)
    assert callback.swarm_over
    assert callback.session.calls[1:] == [("epoch", 0, 0)]


def test_a_run_that_cannot_begin_leaves(make, recording_session, monkeypatch):
    def fail(self):
        raise StartTimeoutError("nobody came")

    monkeypatch.setattr(recording_session, "begin", fail)
    callback = make()
    with pytest.raises(StartTimeoutError):
        callback.on_train_begin()
    assert callback.session.calls == [("abort", "training could not begin")]


def test_a_forgotten_callback_leaves_the_swarm(make, recording_session):
    callback = make()
    callback.on_train_begin()
    del callback
    assert recording_session.opened[0].calls[-1] == ("abort", "training ended without on_train_end")


def test_a_finished_callback_leaves_nothing_behind(make, recording_session):
    callback = make()
    callback.on_train_begin()
    callback.on_train_end()
    del callback
    assert recording_session.opened[0].calls[-1] == ("end", 0)


def test_a_loop_that_goes_on_after_an_error_leaves_by_abort(make):
    callback = make()
    callback.abort("nothing to leave yet")
    callback.on_train_begin()
    callback.abort("the data ran out")
    callback.abort("again")
    assert callback.session.calls == [("begin",), ("abort", "the data ran out")]
    with pytest.raises(SwarmError, match="on_batch_end was called after the run had ended"):
        callback.on_batch_end()


def test_a_loop_that_raises_frees_port_and_threads(lone_peer):
    def train():
        callback = TorchCallback(model=nn.Linear(2, 1), **lone_peer.arguments)
        callback.on_train_begin()
        lone_peer.look(callback.session)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        train()
    lone_peer.require_gone()


def test_abort_frees_port_and_threads(lone_peer):
    callback = TorchCallback(model=nn.Linear(2, 1), **lone_peer.arguments)
    callback.on_train_begin()
    lone_peer.look(callback.session)
    callback.abort()
    lone_peer.require_gone()
    assert callback.swarm_over


def test_a_process_that_dies_of_an_exception_leaves_politely(tmp_path):
    script = """
import sys, torch
from pathlib import Path
from swarm import SwarmCallback
place = Path(sys.argv[1])
callback = SwarmCallback(model=torch.nn.Linear(1, 1), rendezvous=place, min_peers=1)
callback.on_train_begin()
print(len([*place.iterdir()]))
raise RuntimeError("boom")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "1\n"), done.stderr
    assert done.stderr.endswith("RuntimeError: boom\n")
    assert [*tmp_path.iterdir()] == []


def test_metrics_tell_rounds_and_the_learning_rate(make):
    model = nn.Linear(2, 1)
    callback = make(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.25))
    assert callback.metrics == {"swarm_learning_rate": 0.25}
    callback.on_train_begin()
    for _ in range(3):
        callback.on_batch_end()
    assert callback.metrics == {"swarm_rounds": 1.0, "swarm_learning_rate": 0.25}


def test_the_model_stays_picklable_and_untouched(make):
    model = nn.Linear(2, 1)
    before = set(vars(model))
    callback = make(model=model)
    callback.on_train_begin()
    callback.on_train_end()
    torch.save(model, io.BytesIO())
    assert set(vars(model)) == before


def test_the_callback_is_picklable_before_training():
    callback = TorchCallback(model=nn.Linear(2, 1), logger=logging.getLogger("mine"))
    assert pickle.loads(pickle.dumps(callback)).logger is logging.getLogger("mine")


def test_validation_without_a_loss_function_is_skipped_in_one_line(make, caplog):
    callback = make(val_data=(torch.zeros(2, 2), torch.zeros(2, 1)))
    callback.on_train_begin()
    assert callback.session.evaluate is None
    (line,) = [record.getMessage() for record in caplog.records if "loss_function" in record.getMessage()]
    assert line.endswith("pass loss_function=... to turn validation on")


def test_validation_reaches_the_session(make):
    callback = make(val_data=(torch.zeros(2, 2), torch.zeros(2, 1)), loss_function="MSELoss")
    callback.on_train_begin()
    assert callback.session.evaluate().samples == 2


def test_what_hpe_scripts_name_is_made_with_the_arguments_they_give():
    torch.manual_seed(2)
    x, y = torch.randn(6, 3), torch.randint(0, 4, (6,))
    model = nn.Linear(3, 4)
    with pytest.warns(DeprecationWarning, match="HPE's spelling"):
        arguments = parse_arguments(
            {
                "model": model,
                "valData": (x, y),
                "lossFunction": "CrossEntropyLoss",
                "lossFunctionArgs": {"label_smoothing": 0.5},
                "metricFunction": "Accuracy",
                "metricFunctionArgs": {"task": "multiclass", "num_classes": 4, "top_k": 3},
            }
        )
    evaluation = evaluator_for(arguments, model)()
    with torch.no_grad():
        outputs = model(x)
    in_top_3 = (outputs.topk(3).indices == y[:, None]).any(dim=1).float().mean().item()
    assert evaluation.loss == pytest.approx(nn.CrossEntropyLoss(label_smoothing=0.5)(outputs, y).item())
    assert evaluation.metrics == {"MulticlassAccuracy": pytest.approx(in_top_3)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "model is missing"),
        ({"model": "net"}, "model is a str"),
        ({"optimizer": 0.1}, "optimizer is a float"),
        ({"settings": Settings(sync_policy="validation")}, "sync_policy='validation'.*val_data is missing"),
        (
            {"settings": Settings(use_adaptive_sync=True), "val_data": (torch.zeros(2, 2), torch.zeros(2, 1))},
            "use_adaptive_sync.*loss_function is missing",
        ),
    ],
)
def test_what_does_not_fit_is_refused_when_the_callback_is_made(make, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make(**arguments)


def test_a_run_alone_goes_through_a_real_session(tmp_path):
    model = nn.Linear(2, 1)
    before = [parameter.clone() for parameter in model.parameters()]
    callback = TorchCallback(model=model, loopback=True, sync_interval=1, model_dir=tmp_path)
    callback.on_train_begin()
    callback.on_batch_end()
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert callback.swarm_over
    assert callback.metrics["swarm_rounds"] == 0
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert (tmp_path / "swarm-final.safetensors").exists()


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_model_under_ddp_in_one_process_is_trained_as_it_is(make):
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    callback = make(model=model, val_data=(torch.zeros(2, 2), torch.zeros(2, 1)), loss_function="MSELoss")
    callback.on_train_begin()
    assert callback.session.evaluate().samples == 2
    assert [spec.name for spec in callback.session.port.schema().tensors] == ["weight", "bias"]


def test_two_peers_merge_a_body_and_keep_heads_of_their_own(tmp_path):
    def train(rank):
        torch.manual_seed(rank)
        model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1 + rank)})
        head = model["head"].weight.clone()
        callback = TorchCallback(
            model=model, name=f"peer-{rank}", rendezvous=tmp_path, world_size=2, sync_interval=1, local="head.*"
        )
        callback.on_train_begin()
        with torch.no_grad():
            model["body"].weight.add_(rank)
            model["head"].weight.add_(rank)
        callback.on_batch_end()
        callback.on_train_end()
        assert callback.metrics["swarm_rounds"] >= 1
        assert torch.equal(model["head"].weight, head + rank)
        return model["body"].state_dict()

    first, second = together(partial(train, 0), partial(train, 1))
    assert all(torch.equal(first[name], second[name]) for name in ("weight", "bias"))


def test_two_peers_train_on_while_they_merge(tmp_path):
    def train(rank):
        torch.manual_seed(rank)
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        callback = TorchCallback(
            model=model, name=f"peer-{rank}", rendezvous=tmp_path, world_size=2, sync_interval=3, overlap=True
        )
        callback.on_train_begin()
        for batch in range(11):
            optimizer.zero_grad()
            (model(torch.ones(1, 2)) - rank).square().sum().backward()
            optimizer.step()
            callback.on_batch_end(loss=batch)
        callback.on_train_end()
        assert callback.metrics["swarm_rounds"] >= 4
        assert callback.metrics["swarm_stall_seconds"] > 0
        return model.state_dict()

    first, second = together(partial(train, 0), partial(train, 1))
    assert all(torch.equal(first[name], second[name]) for name in ("weight", "bias"))


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("on_init_end", "transformers.Trainer was given the SwarmCallback of a raw.*pip install swarm-transformers"),
        ("set_params", r"fit\(\) of Keras was given the SwarmCallback of a PyTorch model"),
        ("setup", "Lightning Trainer.*SwarmLightningCallback"),
    ],
)
def test_the_trainer_of_another_framework_is_told_what_to_do(hook, message):
    callback = TorchCallback(model=nn.Linear(2, 1))
    with pytest.raises(ConfigurationError, match=message):
        getattr(callback, hook)
    with pytest.raises(AttributeError, match=message):
        getattr(callback, hook)
    assert not hasattr(callback, hook)
    assert getattr(callback, hook, "absent") == "absent"
    assert not hasattr(callback, "on_nothing")


def test_samples_come_from_a_loader_that_is_given(make):
    loader = DataLoader(TensorDataset(torch.zeros(9, 2)), batch_size=4)
    arguments = {"node_weightage": "samples", "samples": loader, "listen": "127.0.0.1:0"}
    callback = make(parse_arguments({**arguments, "model": nn.Linear(2, 1)}).settings)
    callback.on_train_begin()
    assert callback.session.settings.require_weight() == 9
    callback.on_train_end()


def test_a_number_of_samples_that_is_not_known_ends_the_start(make):
    callback = make(Settings(node_weightage="samples"))
    with pytest.raises(ConfigurationError, match=r"give samples=N.*samples=loader"):
        callback.on_train_begin()


def test_the_session_knows_the_learning_rate_of_the_optimizer(make):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.5}, {"params": [model.bias]}], lr=0.1)
    callback = make(model=model, optimizer=optimizer)
    callback.on_train_begin()
    rate = callback.session.learning_rate
    assert (rate.now(), rate.decays) == (0.5, False)
    optimizer.param_groups[0]["lr"] = 0.05
    assert rate.now() == 0.1


def test_a_scheduler_is_noticed(make):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    callback = make(model=model, optimizer=optimizer)
    callback.on_train_begin()
    assert callback.session.learning_rate.decays


def test_without_an_optimizer_no_learning_rate_is_known(make):
    callback = make()
    callback.on_train_begin()
    assert callback.session.learning_rate is None


def test_a_merge_waits_for_the_step_of_accumulated_gradients(make_peer, recording_session):
    callback = make_peer()
    callback.on_train_begin()
    for batch in range(1, 9):
        callback.on_batch_end(loss=batch, stepped=batch % 4 == 0)
    assert [call for call in callback.session.calls if call[0] == "merge"] == [("merge", 4, 4.0), ("merge", 4, 8.0)]


def test_facts_about_the_model_must_agree_and_those_of_the_user_count(make_peer):
    callback = make_peer(agree={"size": "large", "unit": "mm"})
    callback.open_run(TorchPort(callback.model), agree={"size": 3, "labels": ["a", "b"]})
    assert callback.session.settings.agree == (("labels", '["a","b"]'), ("size", '"large"'), ("unit", '"mm"'))

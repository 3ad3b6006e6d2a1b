from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from swarm.callback import CallbackArguments, parse_arguments
from swarm.config import Settings
from swarm.errors import ConfigurationError, StartTimeoutError, SwarmError
from swarm.pytorch import TorchCallback, evaluator_for


@pytest.fixture
def callback_class(recording_session):
    return type("Recorded", (TorchCallback,), {"session_factory": recording_session})


@pytest.fixture
def make(callback_class):
    def make(settings: Settings | None = None, **arguments):
        arguments.setdefault("model", nn.Linear(2, 1))
        return callback_class(arguments_of(settings, **arguments))

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
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    assert callback.session.calls == [
        ("begin",),
        ("merge", 3, None),
        ("epoch", 0, 1),
        ("merge", 3, None),
        ("epoch", 1, 2),
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


def test_epochs_count_themselves_when_not_given(make):
    callback = make()
    callback.on_train_begin()
    callback.on_epoch_end()
    callback.on_epoch_end()
    assert [call[1] for call in callback.session.calls if call[0] == "epoch"] == [1, 2]


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
        ("abort", "on_train_begin was called again"),
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
    assert callback.session.calls[1:] == [("merge", 3, None), ("epoch", 0, 0)]


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
    assert recording_session.opened[0].calls[-1] == ("abort", "the process ended before on_train_end")


def test_a_finished_callback_leaves_nothing_behind(make, recording_session):
    callback = make()
    callback.on_train_begin()
    callback.on_train_end()
    del callback
    assert recording_session.opened[0].calls[-1] == ("end", 0)


def test_a_process_that_dies_of_an_exception_leaves_politely():
    script = """
from swarm.pytorch import TorchCallback
from swarm.pytorch.run import Run
class Session:
    over, batches_left = False, 3
    def __init__(self, *args, **kwargs): pass
    def begin(self): pass
    def abort(self, reason): print("left:", reason, flush=True)
class Arguments:
    logger, settings = None, None
import torch
run = Run(Session, Arguments, torch.nn.Linear(1, 1), None)
run.begin()
raise SystemExit("boom")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "left: the process ended before on_train_end\n", done.stderr


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
    callback = TorchCallback(arguments_of(model=nn.Linear(2, 1), logger=logging.getLogger("mine")))
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
        ({"settings": Settings(use_adaptive_sync=True)}, "use_adaptive_sync.*val_data is missing"),
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
    callback = TorchCallback(arguments_of(Settings(loopback=True, sync_interval=1, model_dir=tmp_path), model=model))
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
def test_a_model_under_ddp_is_trained_by_one_process_only(make, monkeypatch):
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    callback = make(model=model, val_data=(torch.zeros(2, 2), torch.zeros(2, 1)), loss_function="MSELoss")
    callback.on_train_begin()
    assert callback.session.evaluate().samples == 2
    assert [spec.name for spec in callback.session.port.schema().tensors] == ["weight", "bias"]
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ConfigurationError, match="trained by 2 processes"):
        callback.on_train_begin()

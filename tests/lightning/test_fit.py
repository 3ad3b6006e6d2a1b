from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, IterableDataset, Subset

from swarm.errors import StartTimeoutError
from swarm.pytorch import TorchPort
from swarm.tensors.state import ModelState
from swarm.testing.nodes import eventually
from swarm.testing.swarm import together
from swarm_lightning import SwarmLightningCallback


def calls_of(session, *kinds):
    return [call[:2] for call in session.calls if call[0] in kinds]


def test_no_argument_is_needed():
    assert SwarmLightningCallback().metrics == {}


def test_a_run_alone_goes_through_a_real_session(make_trainer, module, tmp_path):
    callback = SwarmLightningCallback(loopback=True, sync_interval=1, model_dir=tmp_path)
    make_trainer([callback]).fit(module)
    assert callback.swarm_over
    assert {path.name for path in tmp_path.glob("swarm-final.*")} == {"swarm-final.ckpt", "swarm-final.safetensors"}


def test_the_names_in_the_file_are_those_of_the_module(make_trainer, module, flavour, tmp_path):
    class Wrapper(type(module)):
        """Keeps its network in an attribute that is called as that of a wrapper."""

        def __init__(self):
            super().__init__()
            self.module = self.layer
            del self.layer

        def forward(self, x):
            return self.module(x)

    wrapper = Wrapper()
    callback = SwarmLightningCallback(loopback=True, sync_interval=1, model_dir=tmp_path)
    make_trainer([callback]).fit(wrapper)
    file = load_file(tmp_path / "swarm-final.safetensors")
    assert set(file) == {"module.weight", "module.bias"}
    wrapper.load_state_dict(file)


def test_a_run_from_begin_to_end(make_callback, make_trainer, module, recording_session):
    make_trainer([make_callback()], max_epochs=2).fit(module)
    (session,) = recording_session.opened
    assert [call[:2] if call[0] == "merge" else call for call in session.calls] == [
        ("begin",),
        ("merge", 3),
        ("merge", 3),
        ("epoch", 0, 2),
        ("merge", 3),
        ("merge", 3),
        ("merge", 3),
        ("epoch", 1, 1),
        ("end", 1),
    ]
    assert all(isinstance(call[2], float) for call in session.calls if call[0] == "merge")


def test_either_trainer_takes_it_bare(make_callback, make_trainer, module, recording_session):
    make_trainer(make_callback()).fit(module)
    assert recording_session.opened[0].rounds == 2


def test_beside_other_callbacks(make_callback, make_trainer, module, recording_session, flavour, tmp_path):
    seen = []

    class Looks(flavour.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(trainer.callback_metrics["swarm_rounds"].item())

    others = flavour.callbacks
    trainer = make_trainer(
        [
            make_callback(),
            Looks(),
            others.EarlyStopping("val_loss", patience=0, min_delta=1e9),
            others.ModelCheckpoint(tmp_path / "checkpoints", monitor="val_loss", save_last=True),
            others.RichProgressBar(),
        ],
        max_epochs=5,
        enable_checkpointing=True,
        enable_progress_bar=True,
    )
    trainer.fit(module)
    assert seen == [2.0, 5.0]
    assert recording_session.opened[0].calls[-1][0] == "end"
    checkpoint = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert "swarm_rounds" in checkpoint["callbacks"]["SwarmLightningCallback[swarm_model]"]


@pytest.mark.parametrize(
    ("interval", "accumulate", "merged_after"),
    [
        (3, 1, [3, 6]),
        (1, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
        (1, 2, [2, 4, 6, 8]),
        (3, 2, [4, 8]),
        (2, 3, [3, 6, 8]),
        (5, 4, [8]),
    ],
)
def test_no_merge_between_accumulated_gradients(
    make_callback, make_trainer, module, recording_session, monkeypatch, interval, accumulate, merged_after
):
    monkeypatch.setattr(recording_session, "interval", interval)
    make_trainer([make_callback()], accumulate_grad_batches=accumulate).fit(module)
    batches = [call[1] for call in recording_session.opened[0].calls if call[0] == "merge"]
    assert [sum(batches[: index + 1]) for index in range(len(batches))] == merged_after


def test_overlapping_rounds_leave_the_weights_alone_between_accumulated_gradients(
    make_trainer, module, flavour, lone_peer, monkeypatch
):
    batches, touched = [], []
    for name in ("read", "add"):
        original = getattr(TorchPort, name)

        def noted(port, state, name=name, original=original):
            touched.append((name, len(batches) % 2))
            original(port, state)

        monkeypatch.setattr(TorchPort, name, noted)
    callback = SwarmLightningCallback(**lone_peer.arguments, sync_interval=3, overlap=True)

    class Patience(flavour.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            eventually(lambda: not callback.session.round_running, "the round is over")
            batches.append(batch_idx)

    make_trainer([callback, Patience()], max_epochs=2, accumulate_grad_batches=2).fit(module)
    assert len(batches) == 16
    assert [name for name, _ in touched].count("add") >= 2
    assert {place for _, place in touched} == {0}
    assert callback.swarm_over


def test_manual_optimization_with_two_optimizers(make_callback, make_trainer, module, recording_session):
    first, second = module.layer.weight, module.layer.bias

    def training_step(batch, batch_idx):
        loss = torch.nn.functional.mse_loss(module(batch[0]), batch[1]) / 2
        module.manual_backward(loss)
        if batch_idx % 2:
            for optimizer in module.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    module.automatic_optimization = False
    module.training_step = training_step
    module.configure_optimizers = lambda: [torch.optim.SGD([part], lr=0.1) for part in (first, second)]
    make_trainer([make_callback()]).fit(module)
    assert calls_of(recording_session.opened[0], "merge") == [("merge", 4), ("merge", 4)]


def test_nothing_begins_during_the_sanity_check(make_callback, make_trainer, module, recording_session):
    opened = []
    module.on_validation_start = lambda: opened.append(len(recording_session.opened))
    make_trainer([make_callback()], num_sanity_val_steps=1).fit(module)
    assert opened == [0, 1]


def test_every_fit_is_a_run_of_its_own(make_callback, make_trainer, module, recording_session):
    callback = make_callback()
    make_trainer([callback]).fit(module)
    make_trainer([callback]).fit(module)
    assert [session.calls[-1] for session in recording_session.opened] == [("end", 2), ("end", 2)]
    assert callback.swarm_over


def test_validation_and_prediction_alone_open_nothing(make_callback, make_trainer, module, recording_session):
    trainer = make_trainer([make_callback()])
    trainer.validate(module, verbose=False)
    trainer.predict(module, DataLoader(torch.randn(4, 3)), return_predictions=False)
    assert recording_session.opened == []


def without_batch(reason, make_trainer, module, callback, tmp_path):
    """Fit a module to nothing, for one of the reasons for which Lightning does."""
    options = {} if reason in ("drop_last", "resumed", "fitted before") else {reason: 0}
    samples = Subset(module.data, range(5 if reason == "drop_last" else 32))
    loader = DataLoader(samples, batch_size=8, drop_last=True)
    checkpoint = None
    if reason == "resumed":
        earlier, checkpoint = make_trainer([]), tmp_path / "earlier.ckpt"
        earlier.fit(module, loader)
        earlier.save_checkpoint(checkpoint)
    trainer = make_trainer([callback], **options)
    if reason == "fitted before":
        callbacks, trainer.callbacks = trainer.callbacks, []
        trainer.fit(module, loader)
        trainer.callbacks = callbacks
    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=False)


NO_BATCH = ["drop_last", "max_epochs", "max_steps", "limit_train_batches", "resumed", "fitted before"]


@pytest.mark.parametrize("reason", NO_BATCH)
@pytest.mark.filterwarnings("ignore")  # Lightning's own, of each of these
def test_a_fit_without_a_batch_takes_part(
    make_callback, make_trainer, module, recording_session, tmp_path, monkeypatch, caplog, reason
):
    caplog.set_level("INFO", "swarm")

    def end(self):
        state = ModelState.empty(self.port.schema())
        self.port.read(state)
        state.segments["float32"][:] = 0.5
        self.port.write(state)
        self.calls.append(("end", self.counted))

    monkeypatch.setattr(recording_session, "end", end)
    without_batch(reason, make_trainer, module, make_callback(model_dir=tmp_path), tmp_path)
    (session,) = recording_session.opened
    assert session.calls == [("begin",), ("end", 0)]
    assert "this fit trains no batch" in caplog.text
    assert torch.equal(module.layer.weight, torch.full((1, 3), 0.5))
    checkpoint = torch.load(tmp_path / "swarm-final.ckpt", weights_only=True)
    assert torch.equal(checkpoint["state_dict"]["layer.weight"], module.layer.weight)


@pytest.mark.filterwarnings("ignore")
def test_a_fit_without_a_batch_that_cannot_start_raises(
    make_callback, make_trainer, module, recording_session, tmp_path, monkeypatch
):
    def fail(self):
        raise StartTimeoutError("nobody came")

    monkeypatch.setattr(recording_session, "begin", fail)
    with pytest.raises(StartTimeoutError):
        without_batch("drop_last", make_trainer, module, make_callback(), tmp_path)
    assert recording_session.opened[0].calls == [("abort", "training could not begin")]


@pytest.mark.filterwarnings("ignore")
def test_a_stream_without_a_batch_takes_part(make_callback, make_trainer, module, recording_session):
    class Empty(IterableDataset):
        def __iter__(self):
            return iter(())

    make_trainer([make_callback()]).fit(module, DataLoader(Empty()))
    calls = recording_session.opened[0].calls
    assert [calls[0], calls[-1]] == [("begin",), ("end", 0)]


@pytest.mark.filterwarnings("ignore")
def test_a_site_without_a_batch_gets_the_model_of_the_others(flavour, make_trainer, module, tmp_path):
    def site(rank):
        own = copy.deepcopy(module)
        torch.nn.init.constant_(own.layer.weight, rank)
        callback = SwarmLightningCallback(
            name=f"peer-{rank}", rendezvous=tmp_path / "rendezvous", world_size=2, sync_interval=4
        )
        loader = DataLoader(Subset(module.data, range(32 if rank == 0 else 5)), 8)
        fitting = make_trainer([callback], limit_train_batches=1.0 if rank == 0 else 0)
        fitting.fit(own, loader)
        assert callback.metrics["swarm_rounds"] >= 1
        return own.layer.weight

    first, second = together(partial(site, 0), partial(site, 1))
    assert torch.equal(first, second)


@pytest.mark.filterwarnings("ignore")
def test_fast_dev_run_tries_the_script_out_without_the_swarm(make_trainer, module, recording_session, caplog):
    callback = SwarmLightningCallback()
    for batches in (1, 5):
        make_trainer([callback], fast_dev_run=batches).fit(module)
    assert callback.session is None
    assert "fast_dev_run: this fit takes no part in the swarm" in caplog.text


@pytest.mark.filterwarnings("ignore")
def test_fast_dev_run_without_a_batch_stays_without_the_swarm(make_callback, make_trainer, module, recording_session):
    loader = DataLoader(module.data, batch_size=64, drop_last=True)
    make_trainer([make_callback()], fast_dev_run=True).fit(module, loader)
    assert recording_session.opened == []


@pytest.mark.filterwarnings("ignore")
def test_a_fit_after_fast_dev_run_takes_part(make_callback, make_trainer, module, recording_session):
    callback = make_callback()
    make_trainer([callback], fast_dev_run=True).fit(module)
    make_trainer([callback]).fit(module)
    assert calls_of(callback.session, "merge", "end") == [("merge", 3), ("merge", 3), ("end", 2)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_swarm_once(make_callback, make_trainer, module, recording_session, error):
    def training_step(batch, batch_idx):
        raise error("broken")

    module.training_step = training_step
    with pytest.raises((error, SystemExit)):
        make_trainer([make_callback()]).fit(module)
    assert calls_of(recording_session.opened[0], "abort", "end") == [("abort", f"training stopped: {error.__name__}")]


def test_a_run_that_is_torn_down_before_its_end_leaves(make_callback, make_trainer, module):
    callback = make_callback()
    trainer = make_trainer([callback])
    callback.setup(trainer, module, "fit")
    callback.on_train_start(trainer, module)
    callback.teardown(trainer, module, "fit")
    assert callback.session.calls == [("begin",), ("abort", "training was torn down")]


def test_a_with_block_leaves_with_its_error_and_adds_nothing_to_a_fit(make_callback, make_trainer, module):
    with make_callback() as callback:
        make_trainer([callback]).fit(module)
    assert calls_of(callback.session, "abort", "end") == [("end", 2)]
    with pytest.raises(ValueError, match="before the fit"), make_callback() as callback:
        raise ValueError("before the fit")
    assert callback.session is None


def test_a_fit_that_raises_frees_port_and_threads(make_trainer, module, lone_peer):
    callback = SwarmLightningCallback(**lone_peer.arguments)

    def training_step(batch, batch_idx):
        lone_peer.look(callback.session)
        raise RuntimeError("boom")

    module.training_step = training_step
    with pytest.raises(RuntimeError, match="boom"):
        make_trainer([callback]).fit(module)
    lone_peer.require_gone()
    assert callback.swarm_over


def test_weights_merged_on_the_way_stay_in_the_module(
    make_callback, make_trainer, module, recording_session, monkeypatch
):
    def end(self):
        from swarm.tensors.state import ModelState

        state = ModelState.empty(self.port.schema())
        self.port.read(state)
        state.segments["float32"][:] = 0.5
        self.port.write(state)

    monkeypatch.setattr(recording_session, "end", end)
    make_trainer([make_callback()]).fit(module)
    assert torch.equal(module.layer.weight, torch.full((1, 3), 0.5))


def test_the_number_of_samples_is_that_of_the_training_loader(make_callback, make_trainer, module, recording_session):
    arguments = {"loopback": None, "listen": "127.0.0.1:0", "node_weightage": "samples"}
    make_trainer([make_callback(**arguments)]).fit(module)
    make_trainer([make_callback(**arguments, samples=7)]).fit(module)
    assert [session.settings.require_weight() for session in recording_session.opened] == [len(module.data), 7]

"""What progress bar, loggers and checkpoints show of the swarm."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from swarm.tensors.state import ModelState


def rows(place: Path) -> list[dict[str, str]]:
    (path,) = place.rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def with_metrics(monkeypatch, recording_session):
    monkeypatch.setattr(
        recording_session,
        "metrics",
        lambda self: {"swarm_rounds": float(self.rounds), "swarm_peers": 4.0, "swarm_val_loss": 0.25 + self.rounds},
    )


def test_every_logger_gets_each_round(
    make_callback, make_trainer, module, recording_session, flavour, tmp_path, monkeypatch
):
    with_metrics(monkeypatch, recording_session)
    got = []

    class Own(flavour.loggers.logger.Logger):
        name, version = "own", 0

        def log_metrics(self, metrics, step=None):
            if "swarm/round" in metrics:
                got.append((step, metrics))

        def log_hyperparams(self, *arguments, **keywords):
            pass

    loggers = [flavour.loggers.CSVLogger(tmp_path), Own()]
    make_trainer([make_callback()], logger=loggers, max_epochs=2, log_every_n_steps=7).fit(module)
    rounds = [
        (step, {"swarm/round": 10.0 * number, "swarm/peers": 4.0, "swarm/val_loss": 0.25 + number})
        for number, step in enumerate((3, 6, 9, 12, 15), 1)
    ]
    assert got == rounds
    written = [row for row in rows(tmp_path) if row.get("swarm/round")]
    assert [(int(row["step"]), float(row["swarm/round"])) for row in written] == [
        (s, m["swarm/round"]) for s, m in rounds
    ]
    assert [float(row["swarm/val_loss"]) for row in written] == [1.25, 2.25, 3.25, 4.25, 5.25]
    assert {row["swarm_peers"] for row in rows(tmp_path)} == {"", "4.0"}, "once an epoch, as before"


def test_the_progress_bar_shows_round_peers_and_loss(
    make_callback, make_trainer, module, recording_session, flavour, monkeypatch
):
    with_metrics(monkeypatch, recording_session)
    shown = []

    class Looks(flavour.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            shown.append({name: v for name, v in trainer.progress_bar_metrics.items() if name.startswith("swarm/")})

    make_trainer([make_callback(), Looks()], max_epochs=2).fit(module)
    assert [each.get("swarm/round") for each in shown] == [
        None, None, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 30.0, 30.0, 30.0, 40.0, 40.0, 40.0, 50.0, 50.0,
    ]  # fmt: skip
    assert shown[-1] == {"swarm/round": 50.0, "swarm/peers": 4.0, "swarm/val_loss": 5.25}


def test_without_validation_there_is_no_loss(make_callback, make_trainer, module, flavour):
    trainer = make_trainer([make_callback()])
    trainer.fit(module)
    assert {name for name in trainer.progress_bar_metrics if name.startswith("swarm/")} == {"swarm/round"}


@pytest.fixture
def merging(recording_session, monkeypatch):
    """Every merge puts the number of its round into the model; the closing one puts 100."""

    def put(session, value):
        state = ModelState.empty(session.port.schema())
        session.port.read(state)
        state.segments["float32"][:] = value
        session.port.write(state)

    advance, end = recording_session.advance, recording_session.end

    def merges(self, batches=1, **options):
        rounds = self.rounds
        advance(self, batches, **options)
        if self.rounds != rounds:
            put(self, float(self.rounds))

    def ends(self):
        end(self)
        put(self, 100.0)

    monkeypatch.setattr(recording_session, "advance", merges)
    monkeypatch.setattr(recording_session, "end", ends)


def weight(path):
    return torch.load(path, weights_only=True)["state_dict"]["layer.weight"]


def test_checkpoints_hold_merged_weights(make_callback, make_trainer, module, flavour, merging, tmp_path):
    """One is written in the batch in which a round was merged, and before the next step."""
    saving = flavour.callbacks.ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    make_trainer([saving, make_callback()], enable_checkpointing=True, max_epochs=2).fit(module)
    found = {path.name: weight(path).unique().tolist() for path in tmp_path.glob("step*.ckpt")}
    assert found == {f"step={3 * number}.ckpt": [float(number)] for number in range(1, 6)}


@pytest.mark.parametrize(
    ("save_last", "options"),
    [
        (True, {}),
        ("link", {}),
        (True, {"save_weights_only": True}),
        (True, {"save_top_k": 0}),
        (True, {"every_n_epochs": 9}),
    ],
    ids=str,
)
def test_the_last_checkpoint_is_the_closing_model(
    make_callback, make_trainer, module, flavour, merging, tmp_path, save_last, options
):
    saving = flavour.callbacks.ModelCheckpoint(tmp_path, save_last=save_last, **options)
    trainer = make_trainer([make_callback(), saving], enable_checkpointing=True, max_epochs=2)
    trainer.fit(module)
    last = tmp_path / "last.ckpt"
    assert weight(last).unique().tolist() == [100.0]
    assert ("optimizer_states" in torch.load(last, weights_only=True)) == (not options.get("save_weights_only", False))
    others = [path for path in tmp_path.glob("*.ckpt") if path != last]
    assert len(others) == (1 if options in ({}, {"save_weights_only": True}) else 0)
    assert all(weight(path).unique().tolist() != [100.0] for path in others), "that of the last epoch stays as it is"
    assert not [*tmp_path.glob(".*")]


def test_without_save_last_no_checkpoint_changes(make_callback, make_trainer, module, flavour, merging, tmp_path):
    saving = flavour.callbacks.ModelCheckpoint(tmp_path)
    make_trainer([make_callback(), saving], enable_checkpointing=True).fit(module)
    (path,) = tmp_path.glob("*.ckpt")
    assert weight(path).unique().tolist() != [100.0]

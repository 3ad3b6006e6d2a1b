from __future__ import annotations

import torch

from swarm.peer.futures import Answer, AnswerKind
from swarm.session.merging import Merging
from swarm_lightning import SwarmLightningCallback


def test_the_closing_model_is_written_as_a_checkpoint(make_callback, make_trainer, module, tmp_path, caplog):
    make_trainer([make_callback(model_dir=tmp_path)]).fit(module)
    checkpoint = torch.load(tmp_path / "swarm-final.ckpt", weights_only=True)
    assert torch.equal(checkpoint["state_dict"]["layer.weight"], module.layer.weight)
    assert len(checkpoint["optimizer_states"]) == 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_run_that_ends_badly_leaves_no_closing_checkpoint(make_trainer, module, tmp_path, monkeypatch):
    def fit(**arguments):
        callback = SwarmLightningCallback(sync_interval=4, model_dir=tmp_path, **arguments)
        make_trainer([callback]).fit(module)
        return callback

    fit(loopback=True)
    assert (tmp_path / "swarm-final.ckpt").is_file()
    monkeypatch.setattr(Merging, "serve", lambda *_: Answer(kind=AnswerKind.ENDED, reason="nobody is left"))
    callback = fit(rendezvous=tmp_path / "rendezvous", world_size=1, min_peers=1, name="ada")
    assert callback.session.result == tmp_path / "own-final.safetensors"
    written = {path.name for path in tmp_path.glob("*-final.*")}
    assert written == {
        "own-final.ckpt", "own-final.safetensors", "previous-swarm-final.ckpt", "previous-swarm-final.safetensors",
    }  # fmt: skip


def test_a_checkpoint_that_cannot_be_written_fails_no_finished_run(
    make_callback, make_trainer, module, recording_session, tmp_path, caplog
):
    path = tmp_path / "swarm-final.ckpt"
    path.mkdir()
    make_trainer([make_callback(model_dir=tmp_path)]).fit(module)
    assert recording_session.opened[0].calls[-1][0] == "end"
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert str(path) in error.getMessage()
    assert [*tmp_path.iterdir()] == [path]


def test_a_checkpoint_broken_off_leaves_the_earlier_one(
    make_callback, make_trainer, module, recording_session, tmp_path, monkeypatch
):
    path = tmp_path / "swarm-final.ckpt"
    path.write_bytes(b"earlier")
    trainer = make_trainer([make_callback(model_dir=tmp_path)])

    def full(target, weights_only):
        target.write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer, "save_checkpoint", full)
    trainer.fit(module)
    assert path.read_bytes() == b"earlier"
    assert [*tmp_path.iterdir()] == [path]

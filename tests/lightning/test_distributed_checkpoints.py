"""Under ``ModelParallelStrategy`` checkpoints are directories."""

from __future__ import annotations

import importlib
import os
from unittest.mock import patch

import pytest
import torch
from torch.distributed.fsdp import FSDPModule, fully_shard

from swarm.pytorch import load_weights
from swarm_lightning import SwarmLightningCallback

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _group():
    """Lightning opens a process group, and sets variables as of torchrun; it keeps both."""
    with patch.dict(os.environ):
        yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def trained(flavour, module, make_trainer, tmp_path, monkeypatch):
    """Trains a sharded module in a swarm of one site, whose closing model has only the weight 100."""
    finish = SwarmLightningCallback.finish

    def close_with_100(self):
        finish(self)
        with torch.no_grad():
            for weight in sharded.parameters():
                weight.fill_(100.0)

    class Sharded(type(module)):
        def configure_model(self):
            if not isinstance(self.layer, FSDPModule):
                fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])

    def trained(*, save_last=True, save_distributed_checkpoint=True, max_epochs=1, ckpt_path=None):
        nonlocal sharded
        sharded = Sharded()
        strategies = importlib.import_module(f"{flavour.__name__}.strategies")
        strategy = strategies.ModelParallelStrategy(1, 1, save_distributed_checkpoint=save_distributed_checkpoint)
        saving = flavour.callbacks.ModelCheckpoint(tmp_path / "saved", save_last=save_last)
        callback = SwarmLightningCallback(loopback=True, sync_interval=4, model_dir=tmp_path / "out")
        trainer = make_trainer(
            [callback, saving], strategy=strategy, devices=1, enable_checkpointing=True, max_epochs=max_epochs
        )
        trainer.fit(sharded, ckpt_path=ckpt_path)
        return sharded

    sharded = None
    monkeypatch.setattr(SwarmLightningCallback, "finish", close_with_100)
    return trained


@pytest.mark.parametrize("save_last", [True, "link"])
def test_the_last_checkpoint_is_the_closing_model(trained, tmp_path, save_last) -> None:
    trained(save_last=save_last)
    last = tmp_path / "saved" / "last.ckpt"
    assert last.is_dir()
    assert not last.is_symlink()
    assert weights(last).unique().tolist() == [100.0]
    (other,) = [path for path in (tmp_path / "saved").iterdir() if path != last]
    assert weights(other).unique().tolist() != [100.0], "that of the last epoch stays as it is"


def test_the_result_is_loaded_from_its_safetensors_or_by_a_trainer(trained, module, tmp_path) -> None:
    first = trained()
    path = tmp_path / "out" / "swarm-final.ckpt"
    assert path.is_dir()
    with pytest.raises(IsADirectoryError):
        type(module).load_from_checkpoint(path)
    assert weights(path).unique().tolist() == [100.0]
    before = module.layer.weight.clone()
    load_weights(module, tmp_path / "out" / "swarm-final.safetensors")
    assert not torch.equal(module.layer.weight, before)
    again = trained(max_epochs=2, ckpt_path=path)
    assert again.trainer.global_step == 2 * first.trainer.global_step


def test_without_distributed_checkpoints_the_result_is_one_file(trained, module, tmp_path) -> None:
    trained(save_distributed_checkpoint=False)
    loaded = type(module).load_from_checkpoint(tmp_path / "out" / "swarm-final.ckpt")
    assert loaded.layer.weight.unique().tolist() == [100.0]
    assert (tmp_path / "saved" / "last.ckpt").is_file()


def weights(path) -> torch.Tensor:
    """The weights of the layer in a distributed checkpoint."""
    found = {"state_dict": {"layer.weight": torch.zeros(1, 3)}}
    torch.distributed.checkpoint.load(found, checkpoint_id=path)
    return found["state_dict"]["layer.weight"]

"""A model of which each of two processes has a part: its result as a directory of Transformers."""

from __future__ import annotations

import gc
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import distributed, multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from transformers import BertConfig, BertForSequenceClassification, TrainerControl, TrainerState

from swarm.storage.files import load_tensors
from swarm_transformers import SwarmTrainerCallback

pytestmark = pytest.mark.timeout(300)  # processes begin with imports of torch and Transformers


def base():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return BertForSequenceClassification(BertConfig(vocab_size=32, num_labels=2, **sizes))


def in_one_process(rank: int, way: str, directory) -> None:
    """What a Trainer calls, as on a CPU it does not shard itself."""
    torch.set_num_threads(1)
    group = {"init_method": f"file://{directory}/store", "timeout": timedelta(seconds=60)}
    distributed.init_process_group("gloo", rank=rank, world_size=2, **group)
    model = base()
    if way == "adapters":
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    if way != "fsdp1":
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    else:
        model = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    args = SimpleNamespace(deepspeed=None, fsdp=None, load_best_model_at_end=False, gradient_accumulation_steps=1)
    state, control = TrainerState(is_world_process_zero=rank == 0), TrainerControl()
    place = {"rendezvous": directory / "rendezvous", "model_dir": directory / "out"}
    callback = SwarmTrainerCallback(name="ada", min_peers=1, world_size=1, sync_interval=2, **place)
    callback.on_train_begin(args, state, control, model=model, optimizer=optimizer)
    words = torch.arange(32).reshape(4, 8)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=words, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
        optimizer.step()
        callback.on_step_end(args, state, control)
    callback.on_train_end(args, state, control, model=model)
    distributed.barrier()
    distributed.destroy_process_group()
    # The model holds groups of its own, in cycles. A thread of theirs that frees a tensor while Python ends would abort
    # the process.
    del model, optimizer, callback
    gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["whole", "adapters"])
def test_the_result_is_read_by_from_pretrained(way: str, tmp_path):
    multiprocessing.spawn(in_one_process, (way, tmp_path), nprocs=2)
    final = load_tensors(tmp_path / "out" / "swarm-final.safetensors")
    directory = tmp_path / "out" / "swarm-final"
    if way == "adapters":
        read = PeftModel.from_pretrained(base(), directory)
        assert all("lora" in name or "classifier" in name for name in final)
    else:
        read = BertForSequenceClassification.from_pretrained(directory)
        assert len(final) == len([*read.parameters()])
    tensors = read.state_dict()
    for name, array in final.items():
        assert torch.equal(tensors[name], torch.from_numpy(array)), name
    assert not torch.equal(tensors[name], base().state_dict().get(name, torch.tensor(0)))


def test_under_fsdp1_no_process_waits_for_a_result_that_cannot_be_written(tmp_path):
    multiprocessing.spawn(in_one_process, ("fsdp1", tmp_path), nprocs=2)
    assert {path.name for path in (tmp_path / "out").glob("swarm-final*")} == {"swarm-final.safetensors"}

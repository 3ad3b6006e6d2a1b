"""Loops under Accelerate, with the callback of raw PyTorch."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import default_data_collator

from swarm import SwarmCallback


def test_accumulated_gradients_and_the_state_of_the_optimizer(hospitals, bert, texts):
    """One site, as all of a process would share the state of Accelerate."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = bert(seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(texts(20, seed=0), batch_size=4, collate_fn=default_data_collator)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    swarm = SwarmCallback(
        model=accelerator.unwrap_model(model),
        optimizer=optimizer,
        optimizer_state="merge",
        sync_interval=3,
        name="ada",
        world_size=1,
        min_peers=1,
        listen="127.0.0.1:0",
        val_data=DataLoader(texts(8, seed=9), batch_size=4, collate_fn=default_data_collator),
        loss_function="model",
    )
    swarm.session_factory = hospitals.session
    trained, merged, sync = [], [], swarm.sync
    swarm.sync = lambda loss=None: (merged.append(len(trained)), sync(loss))
    swarm.on_train_begin()
    for _ in range(2):
        for batch in loader:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            trained.append(loss)
            swarm.on_batch_end(loss=loss, stepped=accelerator.sync_gradients)
        swarm.on_epoch_end()
    swarm.on_train_end()
    # steps come after two batches, and after the last one of an epoch, which has five
    assert {4, 7, 10} <= set(merged) <= {2, 4, 5, 7, 9, 10}
    assert swarm.metrics["swarm_val_loss"] == pytest.approx(0.69, abs=0.1)
    assert swarm.swarm_over

"""Loops under Accelerate, with the callback of raw PyTorch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import default_data_collator

from swarm import SwarmCallback
from swarm.testing.swarm import together


def test_accumulated_gradients_and_the_state_of_the_optimizer(hospitals, bert, texts):
    def site(number):
        model, data = bert(seed=number), texts(20 + 8 * number, seed=number)
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        loader = DataLoader(data, batch_size=4, collate_fn=default_data_collator)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        swarm = SwarmCallback(
            model=accelerator.unwrap_model(model),
            optimizer=optimizer,
            optimizer_state="merge",
            sync_interval=3,
            name=f"site-{number}",
            world_size=2,
            listen="127.0.0.1:0",
            val_data=DataLoader(texts(8, seed=9), batch_size=4, collate_fn=default_data_collator),
            loss_function="model",
        )
        swarm.session_factory = hospitals.session
        merged, sync = [], swarm.sync
        swarm.sync = lambda loss=None: (merged.append(accelerator.sync_gradients), sync(loss))
        swarm.on_train_begin()
        for _ in range(2):
            for batch in loader:
                with accelerator.accumulate(model):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                swarm.on_batch_end(loss=loss, stepped=accelerator.sync_gradients)
            swarm.on_epoch_end()
        swarm.on_train_end()
        assert merged
        assert all(merged)
        assert swarm.metrics["swarm_val_loss"] == pytest.approx(0.69, abs=0.1)
        return {name: tensor.clone() for name, tensor in accelerator.unwrap_model(model).state_dict().items()}

    first, second = together(partial(site, 0), partial(site, 1), deadline=100.0)
    assert all(torch.equal(first[name], second[name]) for name in first)

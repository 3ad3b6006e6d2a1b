"""The programs of the README, with a tiny model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import TrainingArguments, default_data_collator

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_programs_run(bert, texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    data = texts(8, seed=1)
    model = bert(seed=0)
    names = {
        "base": model,
        "data": data,
        "validation": texts(4, seed=2),
        "args": TrainingArguments("out", max_steps=1, use_cpu=True, disable_tqdm=True, report_to=[]),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": DataLoader(data, batch_size=4, collate_fn=default_data_collator),
    }
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, names)
    assert load_file(tmp_path / "result" / "adapter_model.safetensors")
    assert names["swarm"].swarm_over
    assert names["swarm_callback"].arguments.settings.trainable_only is True

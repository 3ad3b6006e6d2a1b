from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model, get_peft_model_state_dict
from transformers import Trainer

from swarm import SwarmCallback
from swarm.errors import ConfigurationError
from swarm.plugins import PluginRegistry
from swarm.pytorch import TorchCallback
from swarm.testing.swarm import together
from swarm_transformers import SwarmTrainerCallback, _plugin


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="transformers")
    assert entry.load() is _plugin
    registry = PluginRegistry()
    assert not registry.problems
    assert registry.integrations["HF_TRANSFORMER"].requirement == "swarm-transformers"


def test_finding_the_plugin_loads_no_framework():
    program = (
        "import sys, swarm, swarm_transformers\n"
        "from swarm.plugins import PluginRegistry\n"
        "assert 'HF_TRANSFORMER' in PluginRegistry().integrations\n"
        "sys.exit(bool({'transformers', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=100).returncode == 0


def test_a_model_alone_means_a_loop_of_the_users_own(bert):
    model = bert()
    assert isinstance(SwarmCallback(model=model), TorchCallback)
    callback = SwarmCallback(model=model, ml_platform="HF_TRANSFORMER")
    assert isinstance(callback, SwarmTrainerCallback)
    assert isinstance(callback, SwarmCallback)
    assert isinstance(SwarmCallback(ml_platform="hf_transformer"), SwarmTrainerCallback)


def test_a_trainer_that_gets_the_callback_of_a_loop_says_what_to_give(hospitals, bert, two_parts):
    with pytest.raises(ConfigurationError, match=r"swarm_transformers.SwarmTrainerCallback"):
        hospitals.trainer(bert(), [SwarmCallback(model=bert())], two_parts[0])


def test_the_spellings_of_hpe(hospitals, bert, two_parts):
    models, trainers = [], []
    for number, part in enumerate(two_parts):
        model = get_peft_model(bert(seed=0), LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"]))
        with pytest.warns(DeprecationWarning, match="'hfMode' is HPE's spelling.*write trainable_only=True"):
            callback = SwarmCallback(
                syncFrequency=2,
                minPeers=2,
                mlPlatform="HF_TRANSFORMER",
                model=model,
                hfMode="peft",
                listen="127.0.0.1:0",
                name=f"site-{number}",
            )
        callback.session_factory = hospitals.session
        models.append(model)
        trainers.append(hospitals.trainer(model, [callback], part))
    together(*(trainer.train for trainer in trainers), deadline=100.0)
    first, second = map(get_peft_model_state_dict, models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_mode_of_hpe_is_translated():
    with pytest.warns(DeprecationWarning, match="trainable_only=False"):
        assert SwarmTrainerCallback(hfMode="full").arguments.settings.trainable_only is False
    refused = pytest.raises(ConfigurationError, match="trainable_only='lora' is not allowed")
    with pytest.warns(DeprecationWarning, match="'hfMode'"), refused:
        SwarmTrainerCallback(hfMode="lora")


def test_trainers_that_inherit_are_served(hospitals, bert, two_parts):
    """As those of TRL."""

    class Mine(Trainer):
        def compute_loss(self, model, inputs, *arguments, **options):
            return super().compute_loss(model, inputs, *arguments, **options)

    callback = hospitals.callback("ada", world_size=1, min_peers=1)
    hospitals.trainer(bert(), [callback], two_parts[0], kind=Mine).train()
    assert callback.metrics["swarm_rounds"] == 3.0

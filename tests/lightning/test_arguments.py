"""What is refused or chosen when a fit begins."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch

import swarm_lightning
from swarm import SwarmCallback
from swarm.errors import ConfigurationError, MissingExtraError
from swarm.pytorch import TorchCallback
from swarm_lightning import SwarmLightningCallback
from swarm_lightning.flavours import callback_classes


def test_settings_are_checked_before_anything_is_opened(make_callback, make_trainer, module, recording_session):
    with pytest.raises(ConfigurationError, match="no swarm is configured"):
        make_trainer([make_callback(loopback=None)]).fit(module)
    assert recording_session.opened == []


@pytest.mark.parametrize("name", ["SwarmCallback", "SwarmTorchCallback"])
def test_an_unknown_name_of_the_package_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"'swarm_lightning' has no attribute '{name}'"):
        getattr(swarm_lightning, name)


def test_a_callback_that_restores_other_weights_must_come_before(make_callback, make_trainer, module, flavour):
    averaging = flavour.callbacks.StochasticWeightAveraging(swa_lrs=0.1)
    with pytest.raises(ConfigurationError, match="StochasticWeightAveraging .* list it before"):
        make_trainer([make_callback(), averaging], max_epochs=2).fit(module)
    make_trainer([averaging, make_callback()], max_epochs=2).fit(module)


def test_a_model_other_than_the_trainers_is_refused(make_callback, make_trainer, module):
    with pytest.raises(ConfigurationError, match="model is a Linear other than the Module"):
        make_trainer([make_callback(model=torch.nn.Linear(1, 1))]).fit(module)


def test_an_unknown_argument_is_refused():
    with pytest.raises(ConfigurationError, match="sync_interval"):
        SwarmLightningCallback(sync_intervall=3)


def test_another_platform_is_refused():
    with pytest.raises(ConfigurationError, match="ml_platform='PYTORCH' is not served"):
        SwarmLightningCallback(ml_platform="PYTORCH")


def test_the_platform_of_the_environment_does_not_matter(monkeypatch):
    monkeypatch.setenv("SWARM_ML_PLATFORM", "PYTORCH")
    SwarmLightningCallback()


def test_swarm_callback_makes_it_and_it_is_one():
    assert isinstance(SwarmCallback(ml_platform="LIGHTNING"), SwarmLightningCallback)
    assert isinstance(SwarmLightningCallback(), SwarmCallback)


def test_a_module_that_is_passed_as_the_model_is_trained_by_the_users_own_loop(module):
    callback = SwarmCallback(model=module)
    assert isinstance(callback, TorchCallback)
    assert not isinstance(callback, SwarmLightningCallback)


def test_a_strategy_of_several_processes_that_is_not_known_is_refused(make_callback, make_trainer, module, monkeypatch):
    trainer = make_trainer([make_callback()])
    monkeypatch.setattr(type(trainer), "world_size", 2)
    with pytest.raises(ConfigurationError, match="trains over 2 processes .* use strategy='ddp'"):
        trainer.fit(module)


@pytest.mark.parametrize("strategy", ["FSDPStrategy", "DeepSpeedStrategy"])
def test_a_sharding_strategy_is_refused(make_callback, make_trainer, module, strategy):
    trainer = make_trainer([make_callback()])
    sharding = type(strategy, (type(trainer.strategy),), {})
    trainer.strategy.__class__ = sharding
    with pytest.raises(ConfigurationError, match=f"{strategy} shards the model .* ModelParallelStrategy"):
        trainer.fit(module)


def test_finding_the_plugin_loads_no_framework():
    script = "import swarm_lightning._plugin, sys; print({'torch', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_a_machine_without_lightning_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'swarm-learning\[lightning\]'"):
        callback_classes()


def test_patterns_select_by_the_names_of_the_module(make_callback, make_trainer, module, recording_session):
    make_trainer([make_callback(share=["layer.*"], local="*.bias")]).fit(module)
    (session,) = recording_session.opened
    assert [spec.name for spec in session.port.schema().tensors] == ["layer.weight"]


def test_a_file_of_the_user_that_hides_lightning_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "lightning.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lightning", raising=False)
    with pytest.raises(
        ConfigurationError, match=r"lightning\.py hides the installed lightning: give that file another"
    ):
        callback_classes()

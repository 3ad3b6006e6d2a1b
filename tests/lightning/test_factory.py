"""The callback that the environment adds to every Trainer, by an entry point of Lightning."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from swarm.errors import ConfigurationError
from swarm_lightning import SwarmLightningCallback, factory

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    monkeypatch.setenv("SWARM_LIGHTNING_CALLBACK", "true")
    monkeypatch.setenv("SWARM_LOOPBACK", "true")


def ours(trainer):
    return [each for each in trainer.callbacks if isinstance(each, SwarmLightningCallback)]


def test_both_trainers_ask_for_it():
    groups = {group for group in PROJECT["entry-points"] if group.endswith("callbacks_factory")}
    assert groups == {"lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory"}
    for group in groups:
        (target,) = PROJECT["entry-points"][group].values()
        assert resolve_name(target) is factory.callbacks


def test_by_default_no_trainer_gets_it(make_trainer):
    assert ours(make_trainer([])) == []


@pytest.mark.parametrize("value", ["true", "1", "Yes", " on "])
def test_the_environment_asks_for_it(value, monkeypatch, make_trainer):
    monkeypatch.setenv("SWARM_LIGHTNING_CALLBACK", value)
    assert len(ours(make_trainer([]))) == 1


@pytest.mark.parametrize("value", ["false", "0", "", "no"])
def test_the_environment_does_not_ask_for_it(value, monkeypatch, make_trainer):
    monkeypatch.setenv("SWARM_LIGHTNING_CALLBACK", value)
    assert ours(make_trainer([])) == []


def test_another_value_is_refused(monkeypatch):
    monkeypatch.setenv("SWARM_LIGHTNING_CALLBACK", "perhaps")
    with pytest.raises(ConfigurationError, match="SWARM_LIGHTNING_CALLBACK='perhaps' is not allowed"):
        factory.callbacks()


@pytest.mark.usefixtures("asked")
def test_an_unchanged_script_trains_in_the_swarm(make_trainer, module):
    trainer = make_trainer([])
    (callback,) = ours(trainer)[:1]
    for another in ours(trainer)[1:]:  # where this checkout is installed too
        trainer.callbacks.remove(another)
    trainer.fit(module)
    assert callback.swarm_over
    assert trainer.callback_metrics["swarm_rounds"] == 0.0


@pytest.mark.usefixtures("asked")
def test_it_stands_aside_where_the_script_lists_one(
    make_callback, make_trainer, module, recording_session, flavour, tmp_path
):
    listed = make_callback()
    saving = flavour.callbacks.ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    trainer = make_trainer([listed, saving], enable_checkpointing=True)
    added = [each for each in ours(trainer) if each is not listed]
    for another in added[1:]:
        trainer.callbacks.remove(another)
    trainer.fit(module)
    (session,) = recording_session.opened
    assert listed.session is session
    assert added[0].session is None


def test_asking_loads_no_framework():
    program = (
        "import sys; from swarm_lightning.factory import callbacks; assert callbacks() == [];"
        "print([name for name in ('torch', 'lightning', 'pytorch_lightning', 'grpc') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"

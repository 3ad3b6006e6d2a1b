from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("swarm", "swarm_keras", "swarm_lightning")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there(package):
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_sorted_and_stand_once(package):
    names = importlib.import_module(package).__all__
    assert list(names) == sorted(set(names))


def test_the_callbacks_are_exported():
    assert "SwarmCallback" in importlib.import_module("swarm").__all__
    assert "SwarmCallback" in importlib.import_module("swarm_keras").__all__
    assert "SwarmLightningCallback" in importlib.import_module("swarm_lightning").__all__


@pytest.mark.parametrize("module", ["swarm", "swarm._plugin", "swarm_keras._plugin", "swarm_lightning._plugin"])
def test_importing_loads_no_framework(module):
    program = (
        "import sys, importlib\n"
        f"importlib.import_module({module!r})\n"
        "heavy = {'torch', 'keras', 'tensorflow', 'jax', 'lightning', 'pytorch_lightning', 'grpc'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == []

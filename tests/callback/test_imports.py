"""What is loaded when: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

import swarm

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "lightning", "pytorch_lightning", "grpc")

INTROSPECT = f"""
import sys
loaded = sorted(name for name in {FRAMEWORKS!r} if name in sys.modules)
assert loaded == EXPECTED, loaded
"""


def run(code: str, expected: list[str]) -> None:
    script = code + INTROSPECT.replace("EXPECTED", repr(expected))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_import_swarm_loads_no_framework_and_not_even_numpy() -> None:
    run("import sys, swarm\nassert 'numpy' not in sys.modules and 'pluggy' not in sys.modules\n", [])


@pytest.mark.parametrize("name", swarm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(swarm, name) is not None
    assert name in dir(swarm)


def test_public_names_load_no_framework() -> None:
    run("import swarm\nfor name in swarm.__all__: getattr(swarm, name)\n", [])


def test_plugins_load_no_framework() -> None:
    code = """
from swarm.plugins import PluginRegistry
registry = PluginRegistry()
assert {'swarm', 'keras', 'lightning'} <= set(registry.names), registry.problems
"""
    run(code, [])


def test_a_pytorch_callback_loads_no_other_framework() -> None:
    pytest.importorskip("torch")
    code = """
import swarm, torch
callback = swarm.SwarmCallback(model=torch.nn.Linear(1, 1), min_peers=2)
assert isinstance(callback, swarm.SwarmCallback)
"""
    run(code, ["torch"])


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="SwarmCallbak"):
        _ = swarm.SwarmCallbak

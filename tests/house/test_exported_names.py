"""What others may import: the names in the ``__all__`` of a package, and all names of a few single modules."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import swarm

ROOT = Path(__file__).parents[2]
PACKAGES = ["swarm", "swarm_keras", "swarm_lightning"]
PACKAGES += [f"swarm.{module.name}" for module in pkgutil.iter_modules(swarm.__path__) if module.ispkg]
OPEN_MODULES = {"swarm.addresses", "swarm.clock", "swarm.errors", "swarm.messages", "swarm.records", "swarm.text"}
OUTSIDE = [
    path
    for pattern in ("swarm_keras", "swarm_lightning", "examples", "plugins/*/src")
    for folder in sorted(ROOT.glob(pattern))
    for path in sorted(folder.rglob("*.py"))
]
PAGES = [ROOT / "docs/hooks.md", ROOT / "docs/parameters.md", ROOT / "docs/coming-from-hpe.md"]


def exported(package):
    return getattr(importlib.import_module(package), "__all__", [])


def private(module, name):
    """Whether ``name`` of ``module`` is not for others."""
    if module in OPEN_MODULES:
        return name.startswith("_") or not hasattr(importlib.import_module(module), name)
    if module == "swarm" and (f"swarm.{name}" in PACKAGES or f"swarm.{name}" in OPEN_MODULES):
        return False
    return module not in PACKAGES or name not in exported(module)


def imported(source, own):
    """What a program imports of Swarm, but for its own package, as (module, name)."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if re.match(r"swarm(\.|$)|swarm_(keras|lightning)(\.|$)", module):
                if module.partition(".")[0] != own:
                    yield from ((module, alias.name) for alias in node.names)
            case ast.Import(names=names):
                yield from ((name.name, "") for name in names if re.match(r"swarm\.", name.name))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there(package):
    module = importlib.import_module(package)
    assert [name for name in exported(package) if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_sorted_and_stand_once(package):
    names = exported(package)
    order = sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert list(names) in (sorted(set(names)), order)


def test_only_packages_export():
    inside = {path for path in (ROOT / "swarm").rglob("*.py") if path.name != "__init__.py"}
    assert [str(path) for path in sorted(inside) if re.search(r"^__all__\b", path.read_text(), re.MULTILINE)] == []


@pytest.mark.parametrize(
    "source",
    ["from swarm.callback.base import BaseCallback", "from swarm.callback import LIVE", "import swarm.cli.app"],
)
def test_an_import_of_what_is_private_is_found(source):
    assert [found for found in imported(source, "swarm_keras") if private(*found)]


def test_integrations_plugins_and_examples_import_what_is_exported():
    assert len(OUTSIDE) > 10
    found = {
        str(path.relative_to(ROOT)): bad
        for path in OUTSIDE
        if (bad := [each for each in imported(path.read_text(), path.relative_to(ROOT).parts[0]) if private(*each)])
    }
    assert found == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_and_name_what_is_exported(page):
    text = page.read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [each for block in blocks for each in imported(block, "")]
    found += [tuple(name.rsplit(".", 1)) for name in re.findall(r"`(swarm\.[\w.]+\.[A-Za-z]\w*)[`(]", text)]
    assert blocks
    assert [each for each in found if private(*each)] == []


def test_the_callbacks_are_exported():
    assert "SwarmCallback" in exported("swarm")
    assert "SwarmCallback" in exported("swarm_keras")
    assert "SwarmLightningCallback" in exported("swarm_lightning")


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

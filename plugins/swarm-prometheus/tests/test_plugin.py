from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pluggy
import pytest
from prometheus_client import REGISTRY

from swarm.plugins import hookspecs
from swarm.records import Outcome, RoundFinished, RoundReport
from swarm_prometheus import _plugin


@pytest.fixture
def hooks():
    manager = pluggy.PluginManager("swarm")
    manager.add_hookspecs(hookspecs)
    manager.register(_plugin)
    manager.check_pending()
    return manager.hook


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="prometheus")
    assert entry.load() is _plugin


def test_events_reach_the_default_registry(hooks):
    report = RoundReport(outcome=Outcome.MERGED, round=1, group=("a", "b"), seconds=0.1)
    hooks.swarm_round_finished(event=RoundFinished(session="of-this-test", report=report))
    assert REGISTRY.get_sample_value("swarm_rounds_total", {"session": "of-this-test"}) == 1


def test_finding_the_plugin_loads_no_prometheus_client():
    program = "import sys, swarm_prometheus._plugin; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
from sklearn.base import BaseEstimator

from swarm.plugins import PluginRegistry
from swarm.testing import MergeRuleContract
from swarm_sklearn import _plugin
from swarm_sklearn.rule import SumOfUpdates


class TestSumOfUpdates(MergeRuleContract):
    rule = SumOfUpdates()
    weight_counts_as_copies = stays_in_range = unanimous = False


def test_the_rule_adds_the_updates_to_the_reference_model():
    columns = [np.array([3.0, 5.0]), np.array([4.0, 4.0]), np.array([2.0, 4.0])]
    assert SumOfUpdates().merge(columns, [1, 100]).tolist() == [5.0, 5.0]


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="sklearn")
    assert entry.load() is _plugin
    registry = PluginRegistry()
    assert not registry.problems
    assert registry.integrations["SKLEARN"].requirement == "swarm-sklearn"


def test_estimators_are_recognised_by_their_base():
    assert _plugin.serves(type("Mine", (BaseEstimator,), {})())
    assert not _plugin.serves(object())


def test_finding_the_plugin_loads_no_scikit_learn():
    program = (
        "import sys, swarm, swarm_sklearn\n"
        "from swarm.plugins import PluginRegistry\n"
        "assert 'SKLEARN' in PluginRegistry().integrations\n"
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

"""Names that were public under another name are accepted, with a warning that says the present one."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import warnings

import pytest

from swarm import former
from swarm.codec import ExactCodec
from swarm.plugins import Register
from swarm.records import ContributionStats, PeerInfo, SyncState
from swarm.tensors import ModelPort


def instance(name):
    match name:
        case "PeerInfo":
            return PeerInfo(name="a", incarnation="1", address="", session="s", weight=7)
        case "ContributionStats":
            return ContributionStats(peer="a", round=1, weight=7, residual=0.5)
        case "SyncState":
            return SyncState(8, 0.5)
        case "Register":
            return Register()
        case "Codec":
            return ExactCodec()
    return Port()


class Port(ModelPort):
    def schema(self):
        raise NotImplementedError

    def read(self, into):
        raise NotImplementedError

    def write(self, state):
        raise NotImplementedError


@pytest.mark.parametrize("module", sorted(former.MODULES))
def test_a_former_module_has_the_names_of_the_present_one(module):
    holder = importlib.import_module(former.MODULES[module])
    face = importlib.import_module(holder.__name__.rpartition(".")[0])
    names = [name for name in face.__all__ if name in vars(holder)]
    assert names
    imported = importlib.import_module(module)
    for name in names:
        present = f"{face.__name__}.{name}"
        with pytest.warns(DeprecationWarning, match=f"{module}.{name} is a former name.*: write {present}$") as caught:
            assert getattr(imported, name) is vars(holder)[name]
        assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = imported.Nonsense


@pytest.mark.parametrize(
    ("statement", "present"),
    [
        ("from swarm.membership.base import Membership", "swarm.discovery.Discovery"),
        ("from swarm.testing.memberships import MembershipContract", "swarm.testing.DiscoveryContract"),
        ("from swarm.hookspecs import MembershipFactory", "swarm.plugins.DiscoveryFactory"),
        ("import swarm.state as former; former.Array", "swarm.tensors.Array"),
    ],
)
def test_an_old_program_runs_and_is_warned_at_its_own_line(statement, present):
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning:__main__", "-c", f"\n{statement}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"<string>:2: DeprecationWarning: {statement.split()[1].split(' as')[0]}" in done.stderr
    assert f"write {present}" in done.stderr


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("swarm.membership.nonsense")


@pytest.mark.parametrize("name", sorted(former.ATTRIBUTES))
def test_a_former_attribute_is_the_present_one(name):
    found = instance(name)
    for old, new in former.ATTRIBUTES[name].items():
        with pytest.warns(DeprecationWarning, match=f"{name}.{old} is a former name.*write {new}$") as caught:
            assert getattr(found, old) == getattr(found, new)
        assert caught[0].filename == __file__


def test_a_record_is_made_by_its_former_names():
    with pytest.warns(DeprecationWarning, match=r"ContributionStats\(weightage=\) is a former name.*write weight="):
        stats = ContributionStats(peer="a", round=1, weightage=3)
    assert stats == ContributionStats(peer="a", round=1, weight=3)
    assert dataclasses.replace(stats, weight=4).weight == 4
    with pytest.raises(TypeError, match="unexpected"):
        ContributionStats(peer="a", round=1, weigh=3)


def test_a_method_that_is_overridden_under_its_former_name_is_called():
    with pytest.warns(DeprecationWarning, match="Old.lend is a former name.*write borrow") as caught:

        class Old(Port):
            def lend(self, schema):
                return super().lend(schema) or "lent"

    assert caught[0].filename == __file__
    assert Old().lend(None) == Old().borrow(None) == "lent"
    with pytest.warns(DeprecationWarning, match="Older.lend"):

        class Older(Old):
            def lend(self, schema):
                return f"{super().lend(schema)} again"

    assert Older().borrow(None) == "lent again"


def test_present_names_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in former.ATTRIBUTES:
            found = instance(name)
            for new in former.ATTRIBUTES[name].values():
                getattr(found, new)

        class Present(Port):
            def borrow(self, schema):
                return super().borrow(schema)

        assert Present().borrow(None) is None

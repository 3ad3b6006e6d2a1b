"""The number of samples, as a weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

from swarm.config import resolve
from swarm.config.arguments import parse_arguments
from swarm.config.samples import samples_of
from swarm.errors import ConfigurationError

DATA = TensorDataset(torch.zeros(7, 2))


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (DATA, 7),
        (DataLoader(DATA, batch_size=4), 7),
        (DataLoader(DATA, batch_size=4, sampler=SubsetRandomSampler([0, 1])), 7),
        ([DataLoader(DATA), {"b": DataLoader(DATA)}], 14),
        (np.zeros((5, 3)), 5),
        (torch.zeros(6, 1), 6),
        (Endless(), None),
        (DataLoader(Endless()), None),
        ([DATA, Endless()], None),
        ([], None),
        (None, None),
        (range(3), None),
        (np.float64(3), None),
    ],
)
def test_what_tells_the_number_of_its_samples(data, count):
    assert samples_of(data) == count


@pytest.mark.parametrize("given", [7, np.int64(7), DATA, DataLoader(DATA, batch_size=4)])
def test_the_callback_takes_a_number_or_what_has_one(given):
    arguments = parse_arguments({"samples": given, "node_weightage": "samples", "loopback": True, "model": 1})
    assert arguments.settings.require_weight() == 7


def test_what_does_not_tell_is_refused_by_its_type():
    with pytest.raises(ConfigurationError, match="samples is a Endless, which does not tell .* give samples=N"):
        parse_arguments({"samples": Endless(), "loopback": True})


@pytest.mark.parametrize("number", [-1, 10**9 + 1, True])
def test_a_number_out_of_range_is_refused(number):
    with pytest.raises(ConfigurationError, match="samples"):
        parse_arguments({"samples": number, "loopback": True})


def test_an_unknown_number_is_refused_with_the_remedy():
    settings = resolve({"node_weightage": "Samples"}, environment={}).settings
    with pytest.raises(ConfigurationError, match=r'node_weightage="samples" needs .* give samples=N.*SWARM_SAMPLES'):
        settings.require_weight()


def test_the_number_may_come_from_the_environment():
    environment = {"SWARM_NODE_WEIGHTAGE": "samples", "SWARM_SAMPLES": "450"}
    assert resolve({}, environment=environment).settings.require_weight() == 450


def test_plain_weights_and_the_full_share_are_not_declared():
    told = dict(resolve({"node_weightage": 7, "samples": 3}, environment={}).settings.agreed())
    assert not {"node_weightage", "largest_share"} & told.keys()
    other = resolve({"node_weightage": "samples", "samples": 3, "largest_share": 0.5}, environment={}).settings
    assert {("node_weightage", "samples"), ("largest_share", "0.5")} <= set(other.agreed())


@pytest.mark.parametrize("share", [0, -0.1, 1.1, True, "much", float("nan")])
def test_a_share_is_a_fraction(share):
    with pytest.raises(ConfigurationError, match="largest_share=.*: allowed is a number above 0 and at most 1"):
        resolve({"largest_share": share}, environment={})

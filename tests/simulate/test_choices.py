from __future__ import annotations

import pytest

from swarm.config import SETTINGS
from swarm.errors import ConfigurationError
from swarm.simulate.choices import TRIED, combinations, label, option


def test_every_combination_of_the_values_is_tried_in_the_order_given():
    found = combinations({"sync_interval": ["8,32"], "codec": ["exact", "int8"], "overlap": ["yes"]})
    assert [tuple(choice.values()) for choice in found] == [
        (8, "exact", True),
        (8, "int8", True),
        (32, "exact", True),
        (32, "int8", True),
    ]


def test_what_describes_a_site_is_not_tried():
    assert TRIED.keys().isdisjoint({"members", "require_members", "listen", "identity", "proxy", "max_mbit"})


def test_nothing_given_is_one_choice():
    assert combinations({}) == [{}]
    assert label({}) == "as configured"


def test_a_setting_that_is_a_list_takes_a_value_each_time():
    found = combinations({"local": ["head.*,bias", "head.*"]})
    assert found == [{"local": ("head.*", "bias")}, {"local": ("head.*",)}]
    assert label(found[0]) == "local=head.*+bias"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sync_interval": ["8,0"]}, "--sync-interval '0' is not allowed"),
        ({"merge_method": ["mean,no_rule"]}, "--merge-method: .*no_rule"),
        ({"codec": ["no_codec"]}, "--codec: .*no_codec"),
        ({"sync_policy": ["no_policy"]}, "--sync-policy: .*no_policy"),
        ({"screen": ["none"]}, "--screen 'none' is not allowed"),
        ({"sync_interval": ["8,8"]}, "--sync-interval has a value twice"),
    ],
)
def test_a_value_that_no_peer_would_accept_is_refused_by_its_option(given, named):
    with pytest.raises(ConfigurationError, match=named):
        combinations(given)


def test_what_all_peers_must_share_can_be_tried_and_what_describes_a_site_cannot():
    of_a_site = {"model_name", "agree", "tolerated_liars", "exchange_shards"}
    assert {name for name, row in SETTINGS.items() if row.agree == "yes"} - of_a_site <= TRIED.keys()
    assert not TRIED.keys() & {"name", "listen", "peers", "identity", "rank", "model_dir", "data_dir"}
    assert option("sync_interval") == "--sync-interval"

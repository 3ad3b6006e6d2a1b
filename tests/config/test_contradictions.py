from __future__ import annotations

from pathlib import Path

import pytest

from swarm.config import Settings, resolve
from swarm.errors import ConfigurationError

NOWHERE = Path("/nonexistent")


def settings_of(**arguments: object) -> Settings:
    return resolve(arguments, environment={}, directory=NOWHERE).settings


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 2),
        ({"world_size": 1}, 1),
        ({"world_size": 4}, 3),
        ({"world_size": 5}, 3),
        ({"members": ["a", "b", "c"]}, 2),
        ({"members": ["a", "b", "c"], "world_size": 6}, 4),
        ({"world_size": 4, "min_peers": 1}, 1),
        ({"world_size": 4, "tolerated_liars": 1}, 3),
        ({"world_size": 5, "tolerated_liars": 1}, 4),
        ({"world_size": 4, "min_peers": 4, "loopback": True}, 1),
        ({"loopback": True}, 1),
    ],
)
def test_min_peers_is_a_majority_of_the_expected_peers(arguments: dict[str, object], expected: int) -> None:
    assert settings_of(**arguments).min_peers == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_peers": 5, "world_size": 4}, "min_peers=5 contradicts world_size=4.*allowed is 1 to 4"),
        ({"min_peers": 3, "members": ["a", "b"]}, "min_peers=3 contradicts members="),
        ({"rank": 4, "world_size": 4}, "rank=4 contradicts world_size=4.*0 to 3"),
        ({"tolerated_liars": 1}, "tolerated_liars=1 contradicts an unknown number of peers.* of 4 or more"),
        ({"tolerated_liars": 1, "world_size": 3}, "tolerated_liars=1 contradicts world_size=3.* of 4 or more"),
        ({"tolerated_liars": 2, "members": ["a", "b", "c", "d"]}, "contradicts members=.* of 7 or more"),
        (
            {"listen": "0.0.0.0:7000"},
            "listen='0.0.0.0:7000' lets weights travel between machines.*no identity",
        ),
        ({"listen": "[::]:7000"}, "has no identity .*swarm join"),
        ({"listen": "[::ffff:0.0.0.0]:7000"}, "has no identity"),
        (
            {"listen": "[::ffff:127.0.0.1]:7000", "insecure": True, "peers": ["site-b:7000"]},
            "site-b:7000 cannot reach a loopback address; set listen",
        ),
        ({"listen": "0:7700", "insecure": True}, "listen='0:7700' is not allowed"),
        ({"listen": "0x0:7700", "insecure": True}, "is not allowed"),
        ({"peers": ["127.1:7700"]}, "is not allowed"),
        ({"peers": ["Berlin@10.0.0.5:7700"]}, "is not allowed"),
        ({"listen": "berlin@10.0.0.5:7700"}, "is not allowed"),
        ({"advertise": "0"}, "advertise='0' is not allowed"),
        ({"advertise": "::ffff:0.0.0.0"}, "is not allowed"),
        (
            {"peers": ["site-b:7000"]},
            "peers=.'site-b:7000'. lets weights travel between machines.*no identity",
        ),
        ({"peers": ["site-b:7000"], "insecure": True}, "listen='127.0.0.1:0' .*contradicts peers"),
        ({"require_members": True}, "require_members=True needs members or world_size, or the identity"),
        (
            {"outer": "nesterov", "outer_beta2": 0.9},
            "outer_beta2=0.9 is for outer='fedadam' or 'fedyogi', and outer is 'nesterov'",
        ),
        *(
            ({"scaffold": True, **other}, f"scaffold=True contradicts {next(iter(other))}=.*leave one of them out")
            for other in (
                {"overlap": True},
                {"proximal": 0.1},
                {"optimizer_state": "merge"},
                {"merge_method": "geomedian"},
            )
        ),
        ({"outer_momentum": 0.5}, "outer_momentum=0.5 is for outer='nesterov' or .*, and outer is 'none'"),
        ({"sync_seconds": 60}, 'sync_seconds=60.0 is for sync_policy="seconds", and the policy is .fixed.'),
        (
            {"use_adaptive_sync": True, "sync_policy": "FIXED", "loopback": True},
            "use_adaptive_sync=True contradicts sync_policy='fixed', whose interval never changes",
        ),
        (
            {"listen": "0.0.0.0:7000", "insecure": True, "peers": ["site-b:7000"], "advertise": "127.0.0.1"},
            "advertise='127.0.0.1' contradicts peers=.*site-b:7000 cannot reach a loopback address; set advertise",
        ),
        (
            {"listen": "10.0.0.5:7000", "insecure": True, "advertise": "localhost:7001"},
            "advertise='localhost:7001' contradicts listen='10.0.0.5:7000'",
        ),
        (
            {"advertise": "north.example"},
            "advertise='north.example' lets weights travel between machines.*no identity",
        ),
        ({"advertise": "0.0.0.0:7000"}, "advertise='0.0.0.0:7000' is not allowed: .*no wildcard"),
        ({"advertise": "::"}, "advertise='::' is not allowed"),
        ({"advertise": "north.example:0"}, "advertise='north.example:0' is not allowed: .*no port 0"),
        ({"advertise": "fe80::1%eth0"}, "is not allowed"),
        ({"advertise": "a b"}, "is not allowed"),
        ({"advertise": ""}, "is not allowed"),
        ({"resume": True}, "resume=True needs model_dir"),
        (
            {"listen": "127.0.0.1:7000", "data_port": 7000},
            "data_port=7000 contradicts listen='127.0.0.1:7000': messages and weights need a port each",
        ),
        ({"listen": "[::1]:7000", "data_port": 7000}, "data_port=7000 contradicts listen"),
        ({"share": "head.*,b", "local": "head.*"}, "share=.* contradicts local=.*: 'head.*' is in both"),
    ],
)
def test_contradictions_are_refused_by_name(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings_of(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"listen": "0.0.0.0:7000", "insecure": True, "peers": ["site-b:7000"]},
        {"listen": "[::1]:7000", "peers": ["localhost:7001", "127.0.0.2:7002"]},
        {"loopback": True, "listen": "0.0.0.0:7000"},
        {"listen": "127.0.0.1:7000", "insecure": True, "peers": ["site-b:7000"], "advertise": "tunnel.example:7700"},
        {"listen": "0.0.0.0:7000", "insecure": True, "advertise": "fd00::5"},
        {"listen": "0.0.0.0:7000", "insecure": True, "advertise": "127.0.0.1:7001", "peers": ["127.0.0.1:7002"]},
        {"listen": "127.0.0.1:7000", "data_port": 7001},
        {"listen": "127.0.0.1:7000", "data_port": 7000, "data_channel": False},
        {"listen": "127.0.0.1:0", "data_port": 0},
    ],
)
def test_what_is_safe_or_wanted_is_allowed(arguments: dict[str, object]) -> None:
    settings = settings_of(**arguments)
    assert settings.listen == arguments["listen"]
    settings.require_swarm()


def test_no_swarm_configured_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"no swarm is configured: .*swarm up.*SWARM_LOOPBACK=true"):
        settings_of(world_size=2, members=["a", "b"], listen=None, peers=[], loopback=False).require_swarm()


@pytest.mark.parametrize(
    "arguments",
    [
        {"listen": "127.0.0.1:0"},
        {"peers": ["127.0.0.1:7000"]},
        {"rendezvous": "/tmp/x"},
        {"discovery": "etcd"},
        {"loopback": True},
    ],
)
def test_any_of_these_places_a_peer_in_a_swarm(arguments: dict[str, object]) -> None:
    settings = settings_of(**arguments)
    settings.require_swarm()
    assert settings.placed

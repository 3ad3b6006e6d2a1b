"""What the processes of a site listen on, and how rank 0 connects to the others."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config import resolve
from swarm.ranks.meeting import of_rank


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({"advertise": "one.example"}, {"advertise": "one.example"}),
        ({"advertise": "[2001:db8::1]"}, {"advertise": "[2001:db8::1]"}),
        ({"advertise": "one.example:7000"}, {"advertise": "one.example:7002"}),
        ({"advertise": "[2001:db8::1]:7000"}, {"advertise": "[2001:db8::1]:7002"}),
        ({"listen": "[::]:7000", "advertise": "one.example"}, {"listen": "[::]:7002", "advertise": "one.example"}),
        ({"listen": "0.0.0.0:0", "data_port": 7100}, {"listen": "0.0.0.0:0", "data_port": 7102}),
    ],
)
def test_ports_that_are_given_are_those_of_rank_0(given: dict[str, Any], own: dict[str, Any]) -> None:
    settings = resolve({"peers": "other.example:7000", "insecure": True, **given}, environment={}).settings
    found = of_rank(settings, 2)
    assert {name: getattr(found, name) for name in own} == own
    assert of_rank(settings, 0) == settings

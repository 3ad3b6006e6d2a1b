"""A ticket lets its holder onto a lane, once and for a while."""

from __future__ import annotations

import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError
from swarm.messages import LaneRequest
from swarm.transport.lane.tickets import LIFETIME, MAX_OUTSTANDING, Tickets

HOLDER = LaneRequest("session", "sender", "incarnation")


def test_tickets_expire():
    clock = ManualClock()
    tickets = Tickets(clock)
    secret = tickets.issue(HOLDER)
    clock.advance(LIFETIME)
    assert tickets.redeem(secret) is None


def test_tickets_are_bounded_until_they_expire():
    clock = ManualClock()
    tickets = Tickets(clock)
    secrets = [tickets.issue(HOLDER) for _ in range(MAX_OUTSTANDING)]
    assert len(set(secrets)) == MAX_OUTSTANDING
    with pytest.raises(ExchangeError, match=str(MAX_OUTSTANDING)):
        tickets.issue(HOLDER)
    assert tickets.redeem(secrets[7]) == HOLDER
    assert tickets.redeem(secrets[7]) is None
    tickets.issue(HOLDER)
    clock.advance(LIFETIME)
    tickets.issue(HOLDER)

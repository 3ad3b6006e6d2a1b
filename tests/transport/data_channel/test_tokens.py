"""A token lets its holder onto a data channel, once and for a while."""

from __future__ import annotations

import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError
from swarm.messages import DataChannelRequest
from swarm.transport.data_channel.tokens import LIFETIME, MAX_OUTSTANDING, Tokens

HOLDER = DataChannelRequest("session", "sender", "incarnation")


def test_tokens_expire():
    clock = ManualClock()
    tokens = Tokens(clock)
    secret = tokens.issue(HOLDER)
    clock.advance(LIFETIME)
    assert tokens.redeem(secret) is None


def test_tokens_are_bounded_until_they_expire():
    clock = ManualClock()
    tokens = Tokens(clock)
    secrets = [tokens.issue(HOLDER) for _ in range(MAX_OUTSTANDING)]
    assert len(set(secrets)) == MAX_OUTSTANDING
    with pytest.raises(ExchangeError, match=str(MAX_OUTSTANDING)):
        tokens.issue(HOLDER)
    assert tokens.redeem(secrets[7]) == HOLDER
    assert tokens.redeem(secrets[7]) is None
    tokens.issue(HOLDER)
    clock.advance(LIFETIME)
    tokens.issue(HOLDER)

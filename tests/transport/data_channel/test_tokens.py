"""A token lets its holder onto a data channel, once and for a while."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError
from swarm.messages import DataChannelRequest
from swarm.transport.data_channel.tokens import LIFETIME, MAX_OUTSTANDING, MAX_OUTSTANDING_OF_A_PEER, Tokens

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
    holders = [DataChannelRequest("session", f"peer-{number}", "incarnation") for number in range(MAX_OUTSTANDING)]
    secrets = [tokens.issue(holder) for holder in holders]
    assert len(set(secrets)) == MAX_OUTSTANDING
    with pytest.raises(ExchangeError, match=str(MAX_OUTSTANDING)):
        tokens.issue(HOLDER)
    assert tokens.redeem(secrets[7]) == holders[7]
    assert tokens.redeem(secrets[7]) is None
    tokens.issue(HOLDER)
    clock.advance(LIFETIME)
    tokens.issue(HOLDER)


def test_one_peer_cannot_take_the_tokens_of_all():
    tokens = Tokens(ManualClock())
    for _ in range(MAX_OUTSTANDING_OF_A_PEER):
        tokens.issue(HOLDER)
    with pytest.raises(ExchangeError, match=f"sender is opening {MAX_OUTSTANDING_OF_A_PEER}"):
        tokens.issue(HOLDER)
    tokens.issue(replace(HOLDER, sender="another"))

"""The contract of a membership backend, as a pytest class.

Subclass it in a test module and say how a backend is made::

    class TestMyMembership(MembershipContract):
        def make(self) -> Membership:
            return MyMembership()

Backends that are made in one test share one place. Where addresses are given and not announced, set
``shares = False`` and return backends that know ``GIVEN``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import pytest

if TYPE_CHECKING:
    from swarm.membership.base import Membership

GIVEN = ("127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003")


class MembershipContract(ABC):
    """What every membership backend must do."""

    shares: ClassVar[bool] = True
    """Whether one peer finds what another announces."""

    @abstractmethod
    def make(self) -> Membership:
        """A new backend, with nothing announced."""

    @pytest.fixture
    def peers(self) -> list[Membership]:
        """Three peers that have announced the addresses ``GIVEN``."""
        peers = [self.make() for _ in GIVEN]
        for number, (peer, address) in enumerate(zip(peers, GIVEN, strict=True)):
            peer.announce(f"peer-{number}", address, f"incarnation-{number}")
        return peers

    def test_each_finds_the_others_and_not_itself(self, peers: list[Membership]) -> None:
        for peer, own in zip(peers, GIVEN, strict=True):
            assert sorted(peer.discover()) == [address for address in GIVEN if address != own]

    def test_nothing_is_found_twice(self, peers: list[Membership]) -> None:
        found = peers[0].discover() + peers[0].discover()
        assert len(set(found)) == len(peers[0].discover())

    def test_a_second_announcement_replaces_the_first(self, peers: list[Membership]) -> None:
        if not self.shares:
            pytest.skip("addresses are given, not announced")
        peers[0].announce("peer-0", "127.0.0.1:2001", "incarnation-9")
        assert sorted(peers[1].discover()) == [GIVEN[2], "127.0.0.1:2001"]
        assert sorted(peers[0].discover()) == sorted(GIVEN[1:])

    def test_what_is_withdrawn_is_found_no_more(self, peers: list[Membership]) -> None:
        if not self.shares:
            pytest.skip("addresses are given, not announced")
        peers[0].withdraw()
        peers[0].withdraw()
        assert peers[1].discover() == (GIVEN[2],)

    @pytest.mark.usefixtures("peers")
    def test_one_that_has_announced_nothing_may_look_and_withdraw(self) -> None:
        watcher = self.make()
        watcher.withdraw()
        assert sorted(watcher.discover()) == sorted(GIVEN)

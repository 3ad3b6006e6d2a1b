"""The contract of a discovery, as a pytest class.

Subclass it in a test module and create the discovery in ``make``::

    class TestMyDiscovery(DiscoveryContract):
        def make(self) -> Discovery:
            return MyDiscovery()

Discoveries that are created in one test must find each other's announcements. If addresses are configured and not
announced, set ``shares = False`` and return discoveries with the addresses ``GIVEN``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import pytest

from swarm.testing.wording import broken, shown

if TYPE_CHECKING:
    from swarm.discovery.base import Discovery

GIVEN = ("127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003")


class DiscoveryContract(ABC):
    """What every discovery must do."""

    shares: ClassVar[bool] = True
    """Whether one peer finds what another announces."""

    @abstractmethod
    def make(self) -> Discovery:
        """A new discovery without announcements."""

    @pytest.fixture
    def peers(self) -> list[Discovery]:
        """Three peers that have announced the addresses ``GIVEN``."""
        peers = [self.make() for _ in GIVEN]
        for number, (peer, address) in enumerate(zip(peers, GIVEN, strict=True)):
            peer.announce(f"peer-{number}", address, f"incarnation-{number}")
        return peers

    def test_each_finds_the_others_and_not_itself(self, peers: list[Discovery]) -> None:
        for peer, own in zip(peers, GIVEN, strict=True):
            found, others = peer.discover(), [address for address in GIVEN if address != own]
            assert sorted(found) == others, broken(
                f"{type(peer).__name__}: discover() gives the addresses of the others, and not the peer's own.",
                given=f"three peers that have announced {GIVEN}, asked by {own}",
                got=shown(found),
                do=f"give {others}, in any order",
            )

    def test_a_check_announces_nothing(self) -> None:
        checked, other = self.make(), self.make()
        checked.check()
        before = other.discover()
        checked.withdraw()
        if self.shares:
            assert not before, broken(
                f"{type(checked).__name__}: check() announces nobody.",
                given="a discovery without announcements, after check()",
                got=shown(before),
                do="only find out whether announce() would work",
            )
        checked.announce("peer-0", GIVEN[0], "incarnation-0")
        checked.withdraw()

    def test_nothing_is_found_twice(self, peers: list[Discovery]) -> None:
        first, again = peers[0].discover(), peers[0].discover()
        assert sorted({*first, *again}) == sorted(first), broken(
            f"{type(peers[0]).__name__}: discover() gives each address once, and the same ones when asked again.",
            given=f"three peers that have announced {GIVEN}, asked twice by the first",
            got=f"{shown(first)}, then {shown(again)}",
            do="remove duplicates: tuple(dict.fromkeys(addresses))",
        )

    def test_a_second_announcement_replaces_the_first(self, peers: list[Discovery]) -> None:
        if not self.shares:
            pytest.skip("addresses are given, not announced")
        peers[0].announce("peer-0", "127.0.0.1:2001", "incarnation-9")
        for peer, expected in ((peers[1], [GIVEN[2], "127.0.0.1:2001"]), (peers[0], sorted(GIVEN[1:]))):
            found = peer.discover()
            assert sorted(found) == expected, broken(
                f"{type(peer).__name__}: A second announcement of a peer replaces its first.",
                given=f"peer-0 has announced {GIVEN[0]}, then 127.0.0.1:2001",
                got=shown(found),
                do=f"give {expected}: keep one address for each name, and the last announced as the peer's own",
            )

    def test_what_is_withdrawn_is_found_no_more(self, peers: list[Discovery]) -> None:
        if not self.shares:
            pytest.skip("addresses are given, not announced")
        peers[0].withdraw()
        peers[0].withdraw()
        found = peers[1].discover()
        assert found == (GIVEN[2],), broken(
            f"{type(peers[1]).__name__}: An address that was withdrawn, even twice, is not found again.",
            given=f"three peers that have announced {GIVEN}; the first has withdrawn",
            got=shown(found),
            do=f"give the tuple {(GIVEN[2],)} to the second one",
        )

    def test_nobody_who_has_announced_has_ended(self, peers: list[Discovery]) -> None:
        found = peers[0].ended()
        assert not found & {f"peer-{number}" for number in range(len(GIVEN))}, broken(
            f"{type(peers[0]).__name__}: ended() gives only names of peers that will not come any more.",
            given="three peers that have announced themselves, of which none has ended",
            got=shown(found),
            do="give an empty frozenset where nobody is known to have ended",
        )

    @pytest.mark.usefixtures("peers")
    def test_one_that_has_announced_nothing_may_look_and_withdraw(self) -> None:
        watcher = self.make()
        watcher.withdraw()
        found = watcher.discover()
        assert sorted(found) == sorted(GIVEN), broken(
            f"{type(watcher).__name__}: A peer that has announced nothing may withdraw and finds all others.",
            given=f"three peers that have announced {GIVEN}, asked by a fourth that has announced nothing",
            got=shown(found),
            do="leave out no address but the peer's own",
        )

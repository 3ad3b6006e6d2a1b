"""Whom a session expects: what the settings give, else the members of the consortium that train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.identity import Identity
    from swarm.records import PeerId

_T = TypeVar("_T")


class Expected(AbstractSet[str]):
    """Names of all peers that are expected now, as far as they are known; none where only a number is.

    Follows the document of the consortium, which may change while the session runs. Safe for any thread.

    Args:
        settings: of this peer.
        identity: of this peer; None without one.
    """

    def __init__(self, settings: Settings, identity: Identity | None) -> None:
        self._settings = settings
        self._identity = identity

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[PeerId]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    @classmethod
    def _from_iterable(cls, names: Iterable[_T]) -> AbstractSet[_T]:
        """What the operators of sets return: it does not follow the document."""
        return frozenset(names)

    @property
    def others(self) -> AbstractSet[PeerId]:
        """The same without this peer."""
        return self - {self._settings.name}

    @property
    def number(self) -> int:
        """How many are expected now; 0 where that is unknown."""
        return self._settings.expected_peers or len(self)

    def admits(self, peer: PeerId) -> bool:
        """Whether a peer may still take part: not if it was removed from the consortium, or trains no more."""
        trainers = self._trainers
        return trainers is None or peer in trainers

    @property
    def _names(self) -> frozenset[PeerId]:
        settings = self._settings
        if settings.members or settings.world_size:
            return frozenset(settings.members)
        return self._trainers or frozenset()

    @property
    def _trainers(self) -> frozenset[PeerId] | None:
        return self._identity.trainers if self._identity else None

"""How many votes decide.

Of n voters, f of whom may sign two results, any two quorums of more than (n + f) / 2 votes have an honest voter in
common (D. Malkhi, M. Reiter, "Byzantine Quorum Systems", 1998). With f = 0 that is a majority.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm.records import PeerId


def quorum_size(voters: int, liars: int = 0) -> int:
    """The fewest votes that decide, of ``voters``, ``liars`` of whom may sign two results."""
    return (voters + liars) // 2 + 1


def is_quorum(voters: Iterable[PeerId], present: Iterable[PeerId], liars: int = 0) -> bool:
    """Whether those of ``voters`` who are ``present`` decide."""
    everyone = set(voters)
    return len(everyone & set(present)) >= quorum_size(len(everyone), liars)


def certified(votes: int) -> int:
    """The most voters of whom so many votes are a majority."""
    return max(2 * votes - 1, 0)

"""Versions of the protocol: which of them this release speaks, and which peers can meet.

The protocol is what peers have in common: the messages, the streams of weights, and everything that they must compute
alike. A peer names a range in each greeting, from the oldest version that it still understands to the newest that it
speaks. Two peers meet if their ranges overlap.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

UPDATE = "pip install --upgrade swarm-learning"
_MAX_RELEASE = 40
"""Characters of the name of a release in a sentence."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a peer names: a range of versions of the protocol, and its release of Swarm."""

    newest: int
    oldest: int
    release: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """One version of the protocol."""

    understands: int
    """The oldest version that a peer of this one still understands."""
    releases: str
    """Those of Swarm that speak it as their newest."""
    adds: str
    """What is different from the version before."""


PROTOCOLS: dict[int, Protocol] = {
    0: Protocol(0, "builds before 0.1.0", "the first one; its peers name no version"),
    1: Protocol(0, "builds before 0.1.0", "peers name their versions, and proposals the version of the session"),
    2: Protocol(
        0,
        "builds before 0.1.0",
        "proposals name the steps of each member; peers can train on until all have trained; optimizer state is merged,"
        " if all peers agree on that; weights by samples",
    ),
    3: Protocol(
        3,
        "0.1.0",
        "records of rounds are certified by the signatures of the voters; every member computes a proposal itself;"
        " digests are BLAKE3; offers name the digest of the capture; records name the best model, if all peers agree on"
        " that, and the end of the training that most sites ask for",
    ),
}
"""Every version. ``docs/versions.md`` has the same table, and says what a change of it needs."""
NEWEST = max(PROTOCOLS)
UNNAMED = Versions(0, 0, "")
"""What a peer speaks that names no version."""


@functools.cache
def here() -> Versions:
    """What this process speaks."""
    try:
        release = version("swarm-learning")
    except PackageNotFoundError:  # a checkout that is not installed
        release = ""
    return Versions(NEWEST, PROTOCOLS[NEWEST].understands, release)


def obstacle(versions: dict[str, Versions | None]) -> str | None:
    """Why two peers cannot meet, as the same sentence at both of them; None if they can.

    Args:
        versions: what each of the two peers names, by name of the peer; None where it names nothing.
    """
    named = {name: versions[name] or UNNAMED for name in sorted(versions)}
    for name, its in named.items():
        if not 0 <= its.oldest <= its.newest:
            return f"{name} names the versions {its.oldest} to {its.newest} of the protocol, which is no range"
    least = max(its.oldest for its in named.values())
    behind = [name for name, its in named.items() if its.newest < least]
    if not behind:
        return None
    both = " and ".join(f"{name} ({_described(its)})" for name, its in named.items())
    return f"{both} have no version of the protocol in common: update Swarm at {behind[0]} with `{UPDATE}`"


def _described(its: Versions) -> str:
    protocol = f"protocol {its.newest}" if its.oldest == its.newest else f"protocols {its.oldest} to {its.newest}"
    return f"{protocol}, {known_release(its.release)}"


def known_release(release: str) -> str:
    """A release of Swarm in a sentence; empty if a peer names none."""
    return f"Swarm {release[:_MAX_RELEASE]}" if release else "an unnamed release of Swarm"

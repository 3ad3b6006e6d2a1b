"""Lines about versions of the protocol, under the table of a session."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.cli.answers import PeerView
from swarm.peer.states import LEFT
from swarm.versions import UPDATE, known_release


def protocol_lines(views: Sequence[PeerView]) -> list[str]:
    """The version of the protocol of one session, and the peers that hold it back; nothing if no peer tells.

    Args:
        views: the answers of its peers.
    """
    used = [view.session_protocol for view in views if view.session_protocol is not None]
    if not used:
        return []
    peers = {peer.name: peer for view in views for peer in view.peers if peer.status != LEFT}
    peers |= {view.name: view for view in views}
    newest = {name: peer.protocol or 0 for name, peer in peers.items()}
    lines = [f"the session uses protocol {min(used)}"]
    for name in sorted(peers):
        if newest[name] < max(newest.values()):
            release = known_release(peers[name].release)
            lines.append(
                f"update Swarm at {name} with `{UPDATE}`: it speaks protocol {newest[name]} at most ({release})"
            )
    return lines

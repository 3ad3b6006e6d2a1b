"""How many connections a port may have, so that this process can still open files and reach its peers."""

from __future__ import annotations

import resource

SHARE = 4
"""A port may take the descriptors of the process divided by this."""


def share(most: int) -> int:
    """Connections that a port may have: ``most``, or fewer where the process has few descriptors (``ulimit -n``)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // SHARE))

"""The states of a peer in its status, apart from those of its training."""

from __future__ import annotations

EXTENDED = "training on for others"
"""It has trained its own epochs and goes on until all have."""
WAITING = "waiting"
"""It has offered its weights, and others have not."""
MERGING = "merging"
"""It exchanges weights."""
VOTING = "voting"
"""It has the merged model, which is not committed yet."""
CATCHING_UP = "catching up"
"""It downloads a committed model that it lacks."""
AT_A_SYNC_POINT = frozenset({WAITING, MERGING, VOTING})
"""Its offer is in no committed round yet."""

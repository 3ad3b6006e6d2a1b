"""What all processes of a site say, or do at the same place; an error in one of them is known to the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from swarm import errors
from swarm.errors import RanksError, SwarmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.ranks.group import ProcessGroup

_AS_THEY_ARE = (errors.ConfigurationError, errors.ModelError, errors.AddressError)
"""Errors of one process that all others raise too; in the place of another one they raise a ``RanksError``."""


def all_say(group: ProcessGroup, say: Callable[[], Any]) -> list[Any]:
    """What every process says, in JSON types, by rank; each calls this. Where one fails, all raise its error.

    Raises:
        SwarmError: what ``say`` has raised, here or in another process.
        RanksError: a process is gone.
    """
    own: SwarmError | None = None
    try:
        said = {"said": say()}
    except SwarmError as error:
        own, said = error, {"error": type(error).__name__, "text": str(error)}
    everywhere = _gathered(group, said)
    if own:
        raise own
    for rank, each in enumerate(everywhere):
        if "error" in each:
            kind = next((kind for kind in _AS_THEY_ARE if kind.__name__ == each["error"]), RanksError)
            raise kind(f"rank {rank} of this site: {each['text']}")
    return [each["said"] for each in everywhere]


def all_do(group: ProcessGroup, work: Callable[[], Any]) -> list[Any]:
    """What the code of the script returns in each process, in JSON types, by rank; each calls this.

    Only rank 0 gets that. The other processes hear from it how the call ends.

    Raises:
        RuntimeError: in rank 0, once all are done: it failed in a process, whose rank and error the text has.
        RanksError: a process is gone.
    """
    own: Exception | None = None
    try:
        done = {"said": work()}
    except Exception as error:  # noqa: BLE001  (the user's code; raised below)
        own, done = error, {"error": f"{type(error).__name__}: {error}"}
    everywhere = _gathered(group, done)
    if group.rank:
        return []
    for rank, each in enumerate(everywhere):
        if "error" in each:
            raise RuntimeError(f"rank {rank} of this site: {each['error']}") from (None if rank else own)
    return [each["said"] for each in everywhere]


def _gathered(group: ProcessGroup, said: Any) -> list[Any]:
    return [json.loads(data) for data in group.gather(json.dumps(said).encode())]

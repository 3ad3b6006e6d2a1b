"""Where the files of one peer in one session are."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings

STATE = "swarm-state"
"""The directory in a model directory for what a run continues from."""


def state_directory(settings: Settings) -> Path:
    """The directory of this peer's checkpoints and ledger of this session.

    Raises:
        ConfigurationError: there is no model directory.
    """
    if settings.model_dir is None:
        raise ConfigurationError("model_dir is not set: checkpoints and the ledger need it")
    session, peer = (urllib.parse.quote(name, safe=" ") for name in (settings.model_name, settings.name))
    return settings.model_dir / STATE / session / peer

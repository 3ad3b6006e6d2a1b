"""``swarm stop``: ask that the training ends at all sites."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.status import own_rendezvous
from swarm.config import resolve
from swarm.discovery.directory import announcements
from swarm.errors import ConfigurationError, SwarmError
from swarm.storage import stop_request


def stop(
    place: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...", help="Model directory of the peer, or of all peers of `swarm up`; default: see above."
        ),
    ] = None,
) -> None:
    """Ask that the training ends at all sites, with a closing round.

    [bold]swarm stop out[/]

    A site asks with this command on its own machine: a peer takes no commands over
    the network. The training ends everywhere once more than half of the sites have
    asked; until then it goes on, and each log says who has asked. To leave alone,
    end the script with Ctrl-C or SIGTERM instead.

    Without a directory it asks the peers of model_dir (SWARM_MODEL_DIR, swarm.toml)
    and those that [bold]swarm up[/] started on this machine.
    """
    places = place or _known()
    if not places:
        raise ConfigurationError(
            "there is no peer to ask: none was started here by `swarm up`, and neither SWARM_MODEL_DIR nor swarm.toml "
            "names a directory; give the model directory of the peer: swarm stop DIR"
        )
    for each in places:
        try:
            stop_request.ask(each)
        except OSError as error:
            raise SwarmError(f"the peers of {each} cannot be asked: {error.strerror or error}") from error
        typer.echo(f"asked the peers of {each}: the training ends at all sites once more than half of them have asked")


def _known() -> list[Path]:
    settings = resolve(environment=os.environ).settings
    named = [each for each in (settings.model_dir, settings.rendezvous) if each and each.is_dir()]
    ours = [*own_rendezvous(Path(tempfile.gettempdir()))]
    started = [each for each in ours if announcements(each)]
    if ours and not named and not started:
        # A peer takes a request that is older than its session for one to an earlier run.
        raise ConfigurationError(
            "no peer of `swarm up` is in a session: none has begun one yet, or all have ended; ask again once "
            "`swarm status` shows one, or end `swarm up` with Ctrl-C"
        )
    return named + started

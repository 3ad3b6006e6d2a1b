"""Variables that Kubernetes and Docker set for a service whose name begins with ``swarm``; they are not settings."""

from __future__ import annotations

import functools
import logging
import re

from swarm.logs import configure_from_environment

_URL = re.compile(r"(tcp|udp|sctp)://\S+", re.IGNORECASE)
_PORT_NUMBER = re.compile(r"[0-9]{1,5}")
_ALIAS = re.compile(r"/[^/\s]+(/[^/\s]+)+")
"""The name of a link in Docker: ``/<container>/<alias>``."""
_ANYTHING = re.compile(r".*", re.DOTALL)

_FORMS = tuple(
    (re.compile(rf"SWARM(_[A-Z0-9_]+)?_{name}"), value)
    for name, value in (
        (r"SERVICE_HOST", _ANYTHING),
        (r"SERVICE_PORT(_[A-Z0-9_]+)?", _PORT_NUMBER),
        (r"PORT", _URL),
        (r"PORT_[0-9]+_(TCP|UDP|SCTP)", _URL),
        (r"PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR|(PORT_)?(START|END))", _ANYTHING),
        (r"NAME", _ALIAS),
        (r"ENV_.+", _ANYTHING),
    )
)
_NAMED = 3
"""How many variables the log line names."""
_log = logging.getLogger("swarm")


def is_link(variable: str, text: str, *, setting: bool) -> bool:
    """Whether a variable has the form of a service link.

    Args:
        variable: its name.
        text: its value, which must match where the form prescribes one: ``SWARM_NAME=/web/swarm`` is a link.
        setting: whether there is a setting of this name; then the value alone decides.
    """
    return any(
        name.fullmatch(variable) and (not text.strip() or value.fullmatch(text.strip()))
        for name, value in _FORMS
        if not setting or (value is not _ANYTHING and text.strip())
    )


@functools.cache
def report_ignored(variables: tuple[str, ...]) -> None:
    """Log once per process that these variables are ignored."""
    configure_from_environment()
    more = len(variables) - _NAMED
    _log.info(
        "ignored %s%s: Kubernetes or Docker sets them for a service called swarm, they are not settings",
        ", ".join(variables[:_NAMED]),
        f" and {more} more" if more > 0 else "",
    )

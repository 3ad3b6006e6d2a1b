"""Serves the page on a socket until the run has ended."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from swarm.addresses import is_loopback
from swarm.errors import UntrustedPeerError
from swarm.identity import Identity, identity_at
from swarm_dashboard.access import LOOPBACK, Access
from swarm_dashboard.application import application
from swarm_dashboard.feed import Feed, Turn
from swarm_dashboard.history import History

LAST_LOOK = 2.0
"""Seconds in which browsers get the end of the run."""


def serve(
    turn: Turn,
    *,
    listening: socket,
    token: str,
    identity: Path | None,
    ended: Callable[[], Mapping[str, Any] | None],
    reports: Callable[[], Sequence[Mapping[str, Any]]],
    saved: Sequence[Path] = (),
) -> None:
    """Serve the page until the run has ended, or Ctrl-C.

    Args:
        turn: asks peers, which takes seconds; what all of them have told by now, as ``swarm status --json`` has it.
        listening: the socket.
        token: what opens the page; empty: a certificate of a member does, which TLS asks for.
        identity: directory of the identity that encrypts the page; None: it is not encrypted.
        ended: None while the run goes on; then what is known of its end, as ``swarm up --json`` has it.
        reports: the reports that peers of this machine have written since the last call, in JSON types.
        saved: files of saved runs to show instead of asking anybody.
    """
    with contextlib.suppress(KeyboardInterrupt):
        feed = Feed(History(), turn, ended, reports)
        asyncio.run(_serve(feed, saved, listening, token, identity_at(identity) if identity else None))


async def _serve(feed: Feed, saved: Sequence[Path], listening: socket, token: str, identity: Identity | None) -> None:
    host, port = listening.getsockname()[:2]
    guarded = Access(
        application(feed, saved),
        token=token,
        hosts=LOOPBACK if is_loopback(host) else None,
        port=port,
        encrypted=identity is not None,
    )
    config = uvicorn.Config(
        guarded,
        http=_members_only(identity) if identity and not token else H11Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(LAST_LOOK),
        ssl_context_factory=(lambda *_: _context(identity, token)) if identity else None,
    )
    server = uvicorn.Server(config)
    following = asyncio.create_task(asyncio.Event().wait() if saved else feed.follow())
    following.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=[listening])
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _context(identity: Identity, token: str) -> ssl.SSLContext:
    """TLS with the certificate of this site. Without a token, browsers show one of a member."""
    if not token:
        return identity.server_context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity.directory / "identity.pem")
    return context


def _members_only(identity: Identity) -> type[H11Protocol]:
    """HTTP for those whose certificate counts now: TLS has checked by whom it was issued, not whether it is revoked."""

    class MembersOnly(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            identity.refresh()
            try:
                identity.trust(shown or b"")
            except UntrustedPeerError:
                transport.abort()

    return MembersOnly

"""The site's side of the enrolment over the network."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable, Sequence

from swarm.addresses import Address
from swarm.errors import IdentityError
from swarm.identity.enrolment import MAX_REPLY, Reply, read_reply
from swarm.identity.frames import Deadline, receive, send
from swarm.proxy import Proxies

SECONDS = 20.0
"""For one address in all."""


def ask(
    addresses: Sequence[str],
    pin: bytes,
    request: Callable[[str], bytes],
    seconds: float = SECONDS,
    proxies: Proxies | None = None,
) -> Reply:
    """Send a request to the first address that answers; the reply is not verified.

    Args:
        addresses: ``host:port`` where the enrolment is.
        pin: SHA-256 of the authority's certificate, without which nothing is sent.
        request: makes the request; is told the address of this machine from which it is sent.
        seconds: for one address in all.
        proxies: for the connection; without them those of the environment.

    Raises:
        IdentityError: nobody answers, somebody else does, or the request is refused.
    """
    silent = []
    for address in addresses:
        deadline = Deadline(seconds)
        try:
            plain = _connect(address, seconds, proxies or Proxies())
        except OSError as error:
            silent.append(f"{address} ({error.strerror or error})")
            continue
        with plain:
            return _asked(plain, address, pin, request, deadline)
    raise IdentityError(
        f"nobody answers at {', '.join(silent)}: the enrolment is open only while `swarm invite` runs at the "
        "consortium's founder; have it run there, and ask again. Or use files (--request)"
    )


def is_enrolment(address: str, pin: bytes, seconds: float = SECONDS) -> bool:
    """Whether the enrolment of the authority with this SHA-256 is open at ``host:port``."""
    deadline = Deadline(seconds)
    try:
        with _connect(address, seconds, Proxies()) as plain:
            deadline.apply(plain)
            with _context().wrap_socket(plain) as connection:
                return hmac.compare_digest(_shown(connection), pin)
    except OSError:
        return False


def _connect(address: str, seconds: float, proxies: Proxies) -> socket.socket:
    found = Address.reachable(address)
    return proxies.connect(found.host, found.port, seconds)


def _asked(
    plain: socket.socket, address: str, pin: bytes, request: Callable[[str], bytes], deadline: Deadline
) -> Reply:
    try:
        deadline.apply(plain)
        with _context().wrap_socket(plain) as connection:
            if not hmac.compare_digest(_shown(connection), pin):
                raise IdentityError(
                    f"{address} shows another certificate than the authority's: it is another consortium's, or "
                    "somebody is in between. Nothing was sent to it"
                )
            send(connection, request(_own_host(connection)), deadline)
            return read_reply(receive(connection, MAX_REPLY, deadline))
    except OSError as error:
        raise IdentityError(
            f"the enrolment at {address} ended the connection or was too slow ({error}): ask again; the same request "
            "gets the same certificate"
        ) from error


def _own_host(connection: socket.socket) -> str:
    """The address of this machine on a connection."""
    return str(connection.getsockname()[0])


def _shown(connection: ssl.SSLSocket) -> bytes:
    """SHA-256 of the certificate that the other side has shown."""
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").digest()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate must be the very one that is known
    return context

"""Why a peer and this one cannot talk, in a sentence: of TLS and of proxies gRPC says little."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from swarm.errors import ProxyError, UnreachablePeerError, UntrustedPeerError
from swarm.versions import UPDATE

if TYPE_CHECKING:
    from swarm.addresses import Address
    from swarm.identity import Identity
    from swarm.identity.certificates import Certificate
    from swarm.proxy import Proxies

PATIENCE = 1.0
"""Seconds for connecting, for the handshake, and for what follows it."""
_HINTS = (" broke", "Socket closed", "onnection reset", "andshake", "erification", "SSL", "ertificate", "proxy")
"""Parts of the words, gRPC's own or ours for them, for a connection that ended without an answer."""
_REFUSALS = {
    "CERTIFICATE_REQUIRED": "it asks for a certificate, and this peer has shown none",
    "UNKNOWN_CA": "it does not know the authority of this peer's certificate: they are of different consortiums",
    "CERTIFICATE_EXPIRED": "to its clock this peer's certificate has expired",
    "CERTIFICATE_REVOKED": "this peer's certificate is revoked there",
    "BAD_CERTIFICATE": "it does not accept this peer's certificate",
    "CERTIFICATE_UNKNOWN": "it does not accept this peer's certificate",
}
"""By the end of OpenSSL's name of an alert."""


def may_explain(reason: str) -> bool:
    """Whether the end of a connection with gRPC's ``reason`` may be about certificates or a proxy."""
    return any(hint in reason for hint in _HINTS)


def explain(address: Address, identity: Identity | None, proxies: Proxies) -> str:
    """Connect to ``address`` once more, and say what stands between the two; empty where nothing is found.

    Args:
        address: of the peer, with the name that it should have.
        identity: of this peer; None: it speaks no TLS.
        proxies: for connections to others.
    """
    try:
        with proxies.connect(address.host, address.port, PATIENCE) as sock:
            sock.settimeout(PATIENCE)
            return _over_tls(sock, address, identity) if identity else _without_tls(sock, address)
    except ProxyError as error:
        return str(error)
    except OSError:
        return ""


def shown_by(address: Address, identity: Identity, proxies: Proxies, timeout: float) -> Certificate:
    """The certificate that the peer at ``address`` shows, over a connection of its own.

    Args:
        address: of the peer.
        identity: of this peer.
        proxies: for connections to others.
        timeout: seconds for connecting, for the handshake, and for what follows it.

    Raises:
        UnreachablePeerError: there is no connection over TLS to it.
        UntrustedPeerError: the certificate does not count.
    """
    try:
        with proxies.connect(address.host, address.port, timeout) as sock:
            sock.settimeout(timeout)
            with _context(identity).wrap_socket(sock) as secure:
                found = secure.getpeercert(binary_form=True) or b""
                secure.recv(1)  # until the other side has judged this peer's, so that it sees no broken handshake
    except OSError as error:
        raise UnreachablePeerError(f"{address.place} shows no certificate: {error}") from error
    return identity.trust(found)


def _over_tls(sock: socket.socket, address: Address, identity: Identity) -> str:
    with _context(identity).wrap_socket(sock, do_handshake_on_connect=False) as secure:
        return _judged(secure, address, identity)


def _judged(secure: ssl.SSLSocket, address: Address, identity: Identity) -> str:
    there = f"the peer at {address.place}"
    try:
        secure.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return f"{there} is not of this peer's consortium: its certificate does not count ({error.verify_message})"
    except ssl.SSLError as error:
        return _refusal(there, error) or (
            f"{there} does not speak TLS: it has no identity, is of a build before 0.1.0 (update Swarm there with "
            f"`{UPDATE}`), or is no Swarm peer"
            if error.reason in {"WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE"}
            else ""
        )
    try:
        found = identity.trust(secure.getpeercert(binary_form=True) or b"")
    except UntrustedPeerError as error:
        return f"{there} is not trusted: {error}"
    if address.name not in ("", found.name):
        return f"{there} is {found.name}, not {address.name}"
    try:
        # Over TLS 1.3 the other side judges this peer's certificate after the handshake has ended here. gRPC then
        # closes the connection without an alert.
        accepted = secure.recv(1)
    except ssl.SSLError as error:
        return _refusal(there, error)
    if accepted:
        return ""
    own = identity.certificate
    return (
        f"{there} does not accept this peer's certificate, which is valid until {own.not_after:%Y-%m-%d %H:%M} UTC: "
        "compare the clocks of both machines, and renew it if it has expired (`swarm renew`)"
    )


def _without_tls(sock: socket.socket, address: Address) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it only asks which protocol is spoken
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_socket(sock).close()
    except ssl.SSLError as error:
        if not _refusal("", error):
            return ""
    return (
        f"the peer at {address.place} speaks TLS only, and this one has no identity: get one "
        "(`swarm join`) and leave insecure out"
    )


def _context(identity: Identity) -> ssl.SSLContext:
    """A context for gRPC's port; that of the identity is for connections of our own."""
    context = identity.make_client_context()
    context.set_alpn_protocols(["h2"])
    return context


def _refusal(there: str, error: ssl.SSLError) -> str:
    """What an alert says; empty where it is none about certificates."""
    name = error.reason or ""
    return next((f"{there} refused: {text}" for end, text in _REFUSALS.items() if name.endswith(end)), "")

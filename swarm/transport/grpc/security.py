"""TLS for gRPC: what this peer shows, what it accepts, and for which name a caller may speak.

Without an identity nothing is encrypted, and a caller may speak for any name.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote

import grpc

from swarm.addresses import Address, block_of
from swarm.errors import AddressError, ExchangeError, UntrustedPeerError
from swarm.identity.certificates import ANY_PEER
from swarm.identity.consortium import Role
from swarm.proxy import Proxies
from swarm.transport.grpc.options import channel_options
from swarm.transport.grpc.status import CallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.identity import Identity

HEADER_KEY = "swarm-header-bin"
"""Of the metadata of a stream of weights: its header."""
VERSION = b"TLSv1.3"


def open_channel(
    address: Address,
    failure_timeout: float,
    identity: Identity | None,
    *,
    weights: bool = False,
    proxies: Proxies | None = None,
) -> grpc.Channel:
    """A connection of its own to ``address``, made when first used.

    With an ``identity``, only the peer that the address names can be at its end, or any peer of the consortium where it
    names none. Without ``proxies`` those of the environment hold.
    """
    proxy = (proxies or Proxies()).find(address.host, address.port)
    options = channel_options(address, failure_timeout, proxy, weights=weights)
    place = target(Address(proxy.host, proxy.port) if proxy else address)
    if identity is None:
        return grpc.insecure_channel(place, options=options)
    options.append(("grpc.ssl_target_name_override", address.name or ANY_PEER))
    own = identity.credentials
    credentials = grpc.ssl_channel_credentials(own.authority, own.key, own.chain)
    return grpc.secure_channel(place, credentials, options=options)


def target(address: Address) -> str:
    """As gRPC wants it: with its kind, so that no peer can name a socket of another sort."""
    try:
        return f"ipv{ipaddress.ip_address(address.host).version}:{address.place}"
    except ValueError:
        return f"dns:///{address.place}"


def listen(server: grpc.Server, address: Address, identity: Identity | None) -> int:
    """Let ``server`` listen on ``address``; the port.

    With an ``identity``, each new connection is given its present certificate.

    Raises:
        AddressError: it cannot be listened on.
    """
    try:
        if identity is None:
            return server.add_insecure_port(address.place)
        return server.add_secure_port(address.place, _server_credentials(identity))
    except RuntimeError as error:
        raise AddressError(
            f"cannot listen on {address.place}: the port is in use or the host is not this machine's; "
            "choose another one (listen), with port 0 for any free one"
        ) from error


def _server_credentials(identity: Identity) -> grpc.ServerCredentials:
    used = identity.credentials

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(used.key, used.chain)], used.authority)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if identity.credentials is used:
            return None
        used = identity.credentials
        return configuration()

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        changed,  # type: ignore[arg-type] # the stubs leave out None, which stands for no change
        require_client_authentication=True,
    )


class Caller:
    """The peer at the other end of a call."""

    address: Address | None = None
    """At which this peer has connected to it, where the call is answered over that connection."""

    def __init__(self, context: grpc.ServicerContext, identity: Identity | None) -> None:
        """Who it is.

        Raises:
            UntrustedPeerError: its certificate counts no more, or the connection is no TLS 1.3.
        """
        self._identity = identity
        self._pem = _shown(context) if identity else b""
        self.name = self.require_trust() or block_of(place_of(context)[0])
        """Of the peer, or the address that it calls from where there are no certificates; of IPv6 the /64."""

    def require_trust(self) -> str:
        """The name in its certificate, which may have been revoked meanwhile; empty without TLS.

        Raises:
            UntrustedPeerError: the certificate counts no more.
        """
        return self._identity.trust(self._pem).name if self._identity else ""

    def require(self, name: str) -> None:
        """Refuse what ``name`` says, unless the caller is that peer and may take part.

        Raises:
            UntrustedPeerError: it is another one, its certificate counts no more, or it is only an observer.
        """
        own = self.require_trust()
        if self._identity is None:
            return
        if own != name:
            raise UntrustedPeerError(f"the certificate of {own} does not allow to speak for {name}")
        if self._identity.member(name).role is not Role.TRAINER:
            raise UntrustedPeerError(f"{name} is an observer, and observers take part in no round")


class ConnectedCaller(Caller):
    """The peer to which this one has connected, and whose call it answers.

    TLS has checked that it is the one which ``address`` names.
    """

    def __init__(self, address: Address, identity: Identity | None) -> None:
        self._identity = identity
        self.address = address
        self.name = self.require_trust() or block_of(address.host)

    def require_trust(self) -> str:
        if self._identity is None or self.address is None:
            return ""
        self._identity.require_member(self.address.name)
        return self.address.name


class AnswerContext:
    """What the methods of a peer ask of a call: for one that is answered over a connection of this peer."""

    def __init__(self, address: Address, header: bytes, cancel: Callable[[], object]) -> None:
        self.address = address
        self.cancel = cancel
        self._metadata = ((HEADER_KEY, header),)

    def invocation_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The header of a stream of weights."""
        return self._metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status, by an error that only whoever answers it takes."""
        raise CallError(code, details)


Context = grpc.ServicerContext | AnswerContext


def place_of(context: grpc.ServicerContext) -> tuple[str, int]:
    """The IP address and the port that a call comes from; gRPC writes them as ``ipv6:%5B::1%5D:4711``."""
    host, _, port = unquote(context.peer()).partition(":")[2].rpartition(":")
    return host.strip("[]"), int(port)


def address_of(caller: Caller, text: str) -> Address:
    """The address that ``caller`` gives as its own.

    Raises:
        ExchangeError: it is none.
        UntrustedPeerError: it is that of another peer.
    """
    try:
        address = Address.parse(text)
    except AddressError as error:
        raise ExchangeError(str(error)) from error
    caller.require(address.name)
    return address


def _shown(context: grpc.ServicerContext) -> bytes:
    """The certificate that the caller has shown."""
    facts = context.auth_context()
    # Cores before 1.8x do not tell the version; there, the absence of ciphers for TLS 1.2 is what rules it out.
    if facts.get("ssl_tls_version", [VERSION]) != [VERSION] or not facts.get("x509_pem_cert"):
        raise UntrustedPeerError("connections to peers need TLS 1.3 with a certificate")
    return bytes(facts["x509_pem_cert"][0])

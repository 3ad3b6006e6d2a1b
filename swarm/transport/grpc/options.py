"""Channel and server options: liveness, throughput, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.descriptors import share

if TYPE_CHECKING:
    from swarm.addresses import Address
    from swarm.proxy import Proxy

Options = list[tuple[str, int | str]]

MAX_STREAMS_PER_CONNECTION = 64
MAX_METADATA_BYTES = 16 * 2**10
KIND_BYTES = 1
"""Before each message of a call that travels inside a call of ``Answer``."""
MAX_CONNECTIONS = 1024
"""Of the listening side, in all, or fewer where the process has few descriptors; others are closed at once."""
LOOKAHEAD_BYTES = 4 * 2**20
"""Of a stream that the core holds before they are read. More would let a stream that nobody reads take more memory;
with this much, a link with a delay of 100 ms carries 300 Mbit/s in a stream."""
LOOKAHEAD_OF_ANYBODY = 2**20
"""The same at a peer without an identity, where a caller may have more streams: in its network links are short."""
PATIENCE = 30
"""Times ``failure_timeout`` that a ping may take among weights: on a slow link it stands behind megabytes of them."""


def _pings(seconds: float) -> Options:
    """A ping after half the time without a sign of life, and the other half for its answer."""
    half = max(1, round(seconds * 500))
    return [
        ("grpc.keepalive_time_ms", half),
        ("grpc.keepalive_timeout_ms", half),
        # What recent cores obey for the answer; without it they wait for a minute.
        ("grpc.http2.ping_timeout_ms", half),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _common(lookahead: int = LOOKAHEAD_BYTES) -> Options:
    return [
        ("grpc.optimization_target", "throughput"),
        ("grpc.http2.max_frame_size", 2**24 - 1),
        ("grpc.http2.lookahead_bytes", lookahead),
        # Else the core raises that by itself, to 32 MiB and more for each stream.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.write_buffer_size", 8 * 2**20),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + KIND_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES + KIND_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ]


HANDSHAKE_SECONDS = 5
"""In which whoever connects must have shown a certificate of the consortium."""


def channel_options(address: Address, failure_timeout: float, proxy: Proxy | None, *, weights: bool) -> Options:
    """For a connection to ``address``, of its own and without retries: who sends decides what to do about a loss.

    Through a ``proxy`` it is made to that one, which is then asked for ``address``.

    One for ``weights`` does not tell that the peer is silent: that is told where they are waited for, and by the
    connection for messages.
    """
    options = [
        *_common(),
        *_pings(failure_timeout * (PATIENCE if weights else 1)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The time that one attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", round(failure_timeout * 1000)),
    ]
    # The core would look for a proxy itself, and reads no_proxy in another way than Swarm and most programs.
    options.append(("grpc.enable_http_proxy", 0))
    if proxy is not None:
        options.append(("grpc.http_connect_server", address.place))
        if proxy.user:
            options.append(("grpc.http_connect_headers", f"Proxy-Authorization:{proxy.authorization}"))
    return options


def max_connections() -> int:
    """Of the listening side of this process."""
    return share(MAX_CONNECTIONS)


def server_options(failure_timeout: float, *, identified: bool) -> Options:
    """For the listening side, where connections for messages and for weights are alike.

    It tolerates pings of peers with a shorter ``failure_timeout``. Whether callers are ``identified`` by certificates
    decides how much each may send ahead.
    """
    return [
        *_common(LOOKAHEAD_BYTES if identified else LOOKAHEAD_OF_ANYBODY),
        *_pings(failure_timeout * PATIENCE),
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_allowed_incoming_connections", max_connections()),
        ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10),
        ("grpc.http2.min_ping_interval_without_data_ms", 10),
        ("grpc.http2.max_ping_strikes", 0),
    ]

"""The gRPC transport; nothing else in Swarm imports ``grpc``."""

from __future__ import annotations

import os

# Read when grpc is imported: its own fork support hangs forked DataLoader workers (grpc issue 32992), and
# its core reports on stderr what we report as errors.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# The ciphers that gRPC offers for TLS 1.2: of these no peer has the keys, so that only TLS 1.3 remains, whose ciphers
# are fixed. Its Python package has no other way to say so. What the environment has would be a fallback.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"

from swarm.transport.grpc.calls import fetch_status
from swarm.transport.grpc.configured import of_settings
from swarm.transport.grpc.transport import GrpcTransport

__all__ = ["GrpcTransport", "fetch_status", "of_settings"]

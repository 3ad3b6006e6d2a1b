"""A transport between processes of one user on one machine, over Unix sockets: no ports and no handshakes.

A peer listens on a socket in a common directory, whose number is its address. One thread of a peer carries all its
messages; a stream has a connection of its own, and a thread at each end while it lasts. Nothing is encrypted: who may
enter the directory may connect.
"""

from swarm.transport.local.transport import LocalTransport

__all__ = ["LocalTransport"]

"""The contract of a transport, as a pytest class.

Subclass it in a test module and say how a node is made::

    class TestMyTransport(TransportContract):
        def make(self) -> Transport:
            return MyTransport()

Nodes that are made in one test must be able to reach each other.
"""

from __future__ import annotations

from swarm.testing.fetches import FetchContract
from swarm.testing.messaging import MessageContract
from swarm.testing.uploads import UploadContract


class TransportContract(MessageContract, UploadContract, FetchContract):
    """What every transport must do: messages, uploads and fetches."""

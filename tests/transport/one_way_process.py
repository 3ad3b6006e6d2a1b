"""A peer to which nobody can connect: prints its address, writes to another one, and prints what it is told."""

from __future__ import annotations

import sys

from swarm.testing.nodes import Node, eventually
from swarm.transport.grpc import GrpcTransport

node = Node(GrpcTransport(advertise=sys.argv[1], failure_timeout=1.0))
print(node.address, flush=True)
node.say(sys.argv[2], "hello")
eventually(lambda: node.handler.texts, "something was heard")
print(node.handler.texts[0], flush=True)
sys.stdin.read()

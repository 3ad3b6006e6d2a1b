"""A peer in a process of its own, for tests that end it: prints its address, then what it receives.

Usage: peer_process.py MODE [ADDRESS ...]: says hello to each address, then, by mode:
    wait    serves until it is ended
    fork    forks a child that lives on after it, prints the child's id, and serves
    leave   returns from the script without closing the transport
    crash   raises
    busy    holds Python's lock for three seconds, prints "done", and serves
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from functools import partial

from swarm.testing.nodes import Node
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport

tell = partial(print, flush=True)
mode, *addresses = sys.argv[1:]
node = Node(DataChannelTransport(GrpcTransport(failure_timeout=1.0), "127.0.0.1"))
for address in addresses:
    node.say(address, node.address)
node.handler.on_envelope = lambda envelope: tell(envelope.message.reason)  # type: ignore[method-assign]
tell(node.address)
sys.stdin.readline()  # the test has reached this peer and has been reached
if mode == "fork":
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(told, b"x")
        threading.Event().wait()
    os.read(ready, 1)
    tell(child)
elif mode == "crash":
    raise RuntimeError("the training failed")
elif mode == "busy":
    ctypes.PyDLL(None).sleep(3)
    tell("done")
if mode != "leave":
    threading.Event().wait()

"""How messages and weights travel between peers.

To add a transport, subclass ``Transport``, register it through the ``swarm_register`` hook, and run the contract test
``swarm.testing.TransportContract`` on it.
"""

from __future__ import annotations

from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, Frame, Handler, Sink, Transport, Upload

__all__ = ["HEAD_BYTES", "MAX_FRAME_BYTES", "MAX_MESSAGE_BYTES", "Frame", "Handler", "Sink", "Transport", "Upload"]

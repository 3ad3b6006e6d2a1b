"""The bulk lane: weights over TCP connections of their own, beside a transport that carries everything else."""

from swarm.transport.lane.control import LaneControl
from swarm.transport.lane.transport import LaneTransport

__all__ = ["LaneControl", "LaneTransport"]

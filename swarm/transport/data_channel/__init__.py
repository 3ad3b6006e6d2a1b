"""The data channel: weights over TCP connections of their own, beside a transport that carries everything else."""

from swarm.transport.data_channel.control import DataChannelControl, DataChannels
from swarm.transport.data_channel.transport import DataChannelTransport

__all__ = ["DataChannelControl", "DataChannelTransport", "DataChannels"]

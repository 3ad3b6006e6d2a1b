"""What travels over a data channel arrives as it was sent, and where the sink wants it."""

from __future__ import annotations

import array
import socket
import struct

import pytest

from swarm.errors import DataChannelError
from swarm.testing.nodes import RecordingSink
from swarm.transport.data_channel.connection import Connection

MIB = 2**20


def test_any_buffers_arrive_as_one_frame(node):
    a, b = node(), node()
    numbers = memoryview(array.array("f", range(1000)))
    many = [b"%d," % number for number in range(500)]
    large = [bytes([number]) * (2 * MIB - 7) for number in range(4)]
    assert a.upload(b.address, [[b"head", numbers], many, large, [], [b"", b""]]).wait() is None
    expected = [b"head" + numbers.tobytes(), b"".join(many), b"".join(large), b"", b""]
    assert b.handler.streams == {1: expected}


def test_a_socket_that_takes_little_at_a_time_gets_everything_in_order():
    class Stingy(socket.socket):
        def sendmsg(self, buffers):
            return super().send(b"".join(buffers)[:3])

    with socket.create_server(("127.0.0.1", 0)) as server, Stingy() as one:
        one.connect(server.getsockname())
        other, _ = server.accept()
        source, target = Connection(one, 10.0), Connection(other, 10.0)
        source.send([b"a", b"bcdefgh", b"", b"ij", b"k"])
        assert target.receive(11) == b"abcdefghijk"
        source.close()
        target.close()


def test_a_sink_hears_of_a_frame_that_trickles_in(node):
    a, b, sink = node(), node(failure_timeout=0.2), RecordingSink()
    b.handler.sink = sink
    send = Connection.send

    def trickle(channel, buffers):
        whole = b"".join(buffers)
        send(channel, [whole[:-1]])
        assert len(whole) < 100 or sink.progressed.wait(10)
        send(channel, [whole[-1:]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "send", trickle)
        assert a.upload(b.address, [[b"P" * 16, bytes(1000)]]).wait() is None
    assert sink.filled[-1] == 999
    assert [frame[-1000:] for frame in sink.taken] == [bytes(1000)]


def test_a_sink_that_refuses_a_frame_ends_the_stream_and_not_the_data_channel(node):
    a, b, sink = node(), node(), RecordingSink()
    b.handler.sink = sink
    assert "no room" in a.upload(b.address, [[b"P" * 16, b"one"], [b"R" * 16, bytes(MIB)], [b"P" * 16, b"two"]]).wait()
    assert a.upload(b.address, [[b"P" * 16, b"three"]]).wait() is None
    assert sink.taken == [b"P" * 16 + b"one", b"P" * 16 + b"three"]
    assert a.control.asked == 1


@pytest.mark.parametrize(("failure_timeout", "expected"), [(10.0, (2, 500_000)), (4.0, (1, 0)), (0.2, (0, 50_000))])
def test_waiting_for_a_frame_wakes_up_four_times_in_the_failure_timeout(failure_timeout, expected):
    """More often would cost processor time for nothing; never would look like silence on a slow link."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, failure_timeout)
        seconds, micro = struct.unpack("@ll", sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        assert seconds == expected[0]
        assert micro == pytest.approx(expected[1], abs=5_000)  # in ticks of the system
        connection.close()


def test_waiting_for_a_frame_ends_also_where_a_quarter_of_the_failure_timeout_is_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, 1e-6)
        waits = struct.unpack("@ll", sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        assert waits > (0, 0)  # which would stand for any time
        connection.close()


@pytest.mark.parametrize(("failure_timeout", "seconds"), [(60.0, 15), (1.0, 1)])
def test_a_silent_host_is_asked_for_a_sign_after_a_quarter_of_the_failure_timeout(failure_timeout, seconds):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, failure_timeout)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [seconds, seconds, 3]
        connection.close()


def test_who_sends_on_a_connection_that_was_broken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, 10.0)
        connection.break_()
        with pytest.raises(DataChannelError, match="the connection was closed"):
            connection.send([b"x"])
        connection.close()


def test_who_was_away_while_the_connection_broke_is_told_unless_something_else_failed():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, 10.0)
        with pytest.raises(DataChannelError, match="the connection was closed"), connection.away:
            connection.break_()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = Connection(sock, 10.0)

        def fail():
            connection.break_()
            raise KeyError("weights")

        with pytest.raises(KeyError, match="weights"), connection.away:
            fail()


def test_closing_resets_the_connection_and_drops_what_is_unsent():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        source, target = Connection(one, 10.0), Connection(other, 10.0)
        source.close()
        with pytest.raises(DataChannelError, match="(?i)reset"):
            target.receive(1)
        target.close()


def test_buffers_of_other_types_than_bytes_are_sent_as_their_bytes():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        source, target = Connection(one, 10.0), Connection(other, 10.0)
        source.send([array.array("H", [1, 2]), b"x"] * 40)
        assert target.receive(5 * 40) == (array.array("H", [1, 2]).tobytes() + b"x") * 40
        source.close()
        with pytest.raises(DataChannelError):
            target.receive(1)
        target.close()

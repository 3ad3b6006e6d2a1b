"""How the death of real processes is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.transport.grpc import GrpcTransport

SCRIPT = Path(__file__).with_name("peer_process.py")


@pytest.fixture
def failure_timeout():
    return 20.0  # so that no ping can be what tells


@pytest.fixture
def node(failure_timeout):
    node = Node(GrpcTransport(failure_timeout=failure_timeout))
    yield node
    node.transport.close(0.0)


@pytest.fixture
def start(node):
    """Starts a peer that talks with ``node`` in both directions."""
    processes = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, SCRIPT, mode, node.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        address = process.stdout.readline().strip()
        node.say(address, "hello")
        assert process.stdout.readline().strip() == "hello"
        eventually(lambda: node.handler.texts == [address], "the peer was heard")
        process.stdin.write("\n")
        process.stdin.flush()
        return process, address

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def seconds_until_lost(node, address):
    began = time.monotonic()
    eventually(lambda: node.handler.lost, "the loss is told")
    assert [lost for lost, _ in node.handler.lost] == [address]
    return time.monotonic() - began


def test_a_killed_peer_is_noticed_at_once(node, start):
    process, address = start("wait")
    process.kill()
    assert seconds_until_lost(node, address) < 2.0


def test_a_killed_peer_is_noticed_at_once_though_a_forked_child_lives(node, start):
    process, address = start("fork")
    child = int(process.stdout.readline())
    try:
        process.kill()
        assert seconds_until_lost(node, address) < 2.0
        os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("failure_timeout", [1.0])
def test_a_frozen_peer_is_noticed_after_the_failure_timeout(node, start):
    process, address = start("wait")
    process.send_signal(signal.SIGSTOP)
    assert 0.2 < seconds_until_lost(node, address) < 5.0


@pytest.mark.parametrize("failure_timeout", [1.0])
def test_a_peer_that_holds_pythons_lock_is_not_lost(node, start):
    process, address = start("busy")
    assert process.stdout.readline().strip() == "done"
    node.say(address, "still there?")
    assert process.stdout.readline().strip() == "still there?"
    assert not node.handler.lost


@pytest.mark.parametrize(("mode", "code"), [("leave", 0), ("crash", 1)])
def test_a_script_that_does_not_close_ends_all_the_same(node, start, mode, code):
    process, address = start(mode)
    assert process.wait(DEADLINE) == code
    seconds_until_lost(node, address)

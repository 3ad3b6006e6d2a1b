"""What the pages say of hooks, threads and log lines, held against three peers that train in this process."""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from swarm import hookimpl
from swarm.config import resolve
from swarm.discovery.directory import DirectoryDiscovery
from swarm.plugins import PluginRegistry, hookspecs
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.tensors.model import ModelPort
from swarm.tensors.state import Schema, TensorSpec
from swarm.transport.memory import MemoryNetwork, MemoryTransport

HOOKS = sorted(name for name, spec in vars(hookspecs).items() if hasattr(spec, "swarm_spec"))
SCHEMA = Schema((TensorSpec("w", (5,), "float32"),))


class Weights(ModelPort):
    """A model of one vector."""

    def __init__(self) -> None:
        self.values = np.zeros(5, np.float32)

    def schema(self):
        return SCHEMA

    def read(self, into):
        for _, array in into.arrays():
            array[...] = self.values

    def write(self, state):
        for _, array in state.arrays():
            self.values[...] = array


def listener(heard: dict[str, set[str]]) -> SimpleNamespace:
    """A plugin that notes on which thread each hook is called."""

    def note(hook: str) -> Callable[[], None]:
        return lambda: heard[hook].add(threading.current_thread().name)

    return SimpleNamespace(**{hook: hookimpl(note(hook)) for hook in HOOKS})


class Training(NamedTuple):
    """What was to be seen of a training."""

    threads: dict[str, set[str]]
    """By the hook that was called on them."""
    log: list[str]


@pytest.fixture
def training(tmp_path, caplog) -> Training:
    """Two peers have trained to the end, and a third has left between two rounds."""
    caplog.set_level(logging.INFO, "swarm")
    called: dict[str, set[str]] = defaultdict(set)
    network = MemoryNetwork()

    def peer(rank: int) -> None:
        given = {"rank": rank, "world_size": 3, "min_peers": 2, "sync_interval": 2, "rendezvous": tmp_path}
        session = Session(
            resolve(given, environment={}, directory=tmp_path).settings,
            port := Weights(),
            plugins=PluginRegistry(extra={"listener": listener(called)}),
            network=lambda *_: Network(MemoryTransport(network), [DirectoryDiscovery(tmp_path, "s")]),
        )
        session.begin()
        for batch in range(4):
            if (rank, batch) == (2, 2):
                session.abort("training stopped")
                return
            port.values += rank
            session.advance()
        session.end()

    threads = [threading.Thread(target=peer, args=(rank,), name=f"training-{rank}", daemon=True) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return Training(called, caplog.messages)


def test_hooks_are_called_on_the_thread_that_the_page_names(doc, training) -> None:
    sections = re.split(r"^### `(swarm_\w+)\(.*$", doc("hooks.md").text, flags=re.MULTILINE)
    said = {
        hook: "swarm" if re.search(r"[Oo]n the worker", text.split("- **Swarm's own**")[0]) else "training"
        for hook, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    named = {hook: {name.partition("-")[0] for name in names} for hook, names in training.threads.items()}
    assert set(said) == set(HOOKS)
    assert named == {hook: {said[hook]} for hook in HOOKS if hook != "swarm_round_failed"}


def test_the_log_reads_as_shown(doc, training) -> None:
    (shown,) = [block.source for block in doc("rounds.md").blocks("text") if "joined at" in block.source]
    logged = {pattern(line) for line in training.log}
    assert [line for line in shown.splitlines() if pattern(line) not in logged] == []


def pattern(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r" \([\d.]+ s waiting for [^)]+ s merging\)", "", line)  # where there was a wait
    line = re.sub(r"digest [0-9a-f]{64}", "digest", line)
    line = re.sub(r"(127\.0\.0\.1|memory):\d+", "address", line)
    line = re.sub(r" \([\d.]+ s waiting for [^)]*\)", "", line)  # whoever comes last waits for nobody
    return re.sub(r"\d+(\.\d+)?", "#", line)

"""The line in a notebook that follows a run."""

from __future__ import annotations

import builtins
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from swarm.callback import notebook
from swarm.callback.notebook import line, show_in_notebook
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, together

STATUS = {
    "name": "ada", "status": "training", "round": 12, "interval": 128, "batches_left": 32, "epoch": 3,
    "total_epochs": 10, "seconds_left": 79.2, "loss": 0.12345,
    "peers": [{"name": "bob", "state": "live"}, {"name": "cyd", "state": "lost"}],
    "last": {"seconds": 2.31, "waited": 2.25, "waited_for": ["bob"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            ("s: 75%|███████▌  | 96/128 batches to the merge, round 12, 2 peers, epoch 3/10, ETA 1:20, loss 0.1235, "
            "2.3 s/merge, 2.2 of them for bob"),
        ),
        (
            {"total_epochs": None, "seconds_left": None, "loss": None, "last": {"seconds": 0.04}},
            "s: 75%|███████▌  | 96/128 batches to the merge, round 12, 2 peers, epoch 3, 0.0 s/merge",
        ),
        (
            {"status": "starting", "round": None, "batches_left": None, "epoch": 0, "seconds_left": None, "loss": None,
             "last": {}},
            "s: starting, 2 peers, epoch 0/10",
        ),
        ({"status": "merging", "batches_left": 128, "last": {}, "seconds_left": None, "loss": None},
         "s: 100%|██████████| 128/128 batches to the merge, round 12, 2 peers, epoch 3/10"),
    ],
)  # fmt: skip
def test_the_line_is_that_of_a_progress_bar(changes, text):
    assert line("s", STATUS | changes).replace("  75", " 75") == text


def test_a_peer_that_trains_alone_has_no_line():
    assert line("s", {}) == ""


class Notebook:
    """The part of IPython that the line uses, in a kernel or in a terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, kernel: bool) -> None:
        self.shown: list[tuple[str, str, bool]] = []
        """Text, place, and whether it replaced an earlier one."""
        self.fails = False
        shell = SimpleNamespace(events=None, kernel=object()) if kernel else SimpleNamespace(events=None)
        monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=self.display))
        monkeypatch.setattr(notebook, "EVERY", 0.01)

    def display(self, data, *, raw, display_id, update):
        assert raw
        if self.fails:
            raise RuntimeError("no comm")
        self.shown.append((data["text/plain"], display_id, update))


def trains(peer, at_each_merge=lambda: None):
    stop = show_in_notebook(peer.session, peer.name)
    peer.session.begin()
    for _ in range(3):
        peer.arrays["w"] += 1.0
        peer.advance(2)
        at_each_merge()
    peer.session.end()
    stop()


def pair():
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    return [swarm.peer(name, {"w": np.zeros(1)}) for name in ("ada", "bob")]


def test_in_a_notebook_a_line_follows_the_run_in_one_place(monkeypatch):
    seen = Notebook(monkeypatch, kernel=True)
    peers = pair()

    def shown():
        eventually(lambda: any("round" in text for text, *_ in seen.shown), "the line is shown")

    together(*(partial(trains, peer, shown) for peer in peers))

    for peer in peers:
        mine = [each for each in seen.shown if each[0].startswith(f"{peer.name}: ")]
        assert len({place for _, place, _ in mine}) == 1
        assert [update for *_, update in mine] == [False] + [True] * (len(mine) - 1)
        assert mine[-1][0].startswith(f"{peer.name}: closed, round 4, "), "the last state stays"


@pytest.mark.parametrize("kernel", [True, False], ids=["a notebook that shows nothing", "a terminal"])
def test_training_goes_on_without_the_line(monkeypatch, kernel):
    seen = Notebook(monkeypatch, kernel=kernel)
    seen.fails = True
    peers = pair()
    together(*(partial(trains, peer) for peer in peers))
    assert seen.shown == []
    assert all(peer.session.over for peer in peers)

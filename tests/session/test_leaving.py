from __future__ import annotations

import numpy as np
import pytest

from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, together


@pytest.mark.parametrize(
    ("reason", "unintended", "level"),
    [("training ended without on_train_end", True, "WARNING"), ("training stopped: ValueError", False, "INFO")],
)
def test_the_others_are_warned_of_a_peer_that_forgot_to_end_its_training(
    reason: str, unintended: bool, level: str
) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    ada, bob = (swarm.peer(name, {"w": np.zeros(4, np.float32)}) for name in ("ada", "bob"))
    together(ada.session.begin, bob.session.begin)
    bob.session.abort(reason, unintended=unintended)
    line = f"{level} bob left ({reason}); peers that remain: 1"
    eventually(lambda: line in ada.lines, f"ada logs {line!r}")
    ada.session.abort("the test is over")

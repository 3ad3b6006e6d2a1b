"""Keras cannot train on after the last epoch of ``fit``."""

from __future__ import annotations

import pytest

from swarm.errors import ConfigurationError
from swarm_keras import SwarmCallback


def test_training_until_all_have_trained_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"train_until='all' is not possible under Keras.*steps_per_epoch"):
        SwarmCallback(train_until="all", loopback=True)

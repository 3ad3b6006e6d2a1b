"""Keras cannot train on after the last epoch of ``fit``."""

from __future__ import annotations

import pytest

from swarm.errors import ConfigurationError
from swarm_keras import SwarmCallback


def test_training_until_all_have_trained_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"train_until='all' is not possible under Keras.*steps_per_epoch"):
        SwarmCallback(train_until="all", loopback=True)


@pytest.mark.parametrize(("name", "value"), [("proximal", 0.1), ("scaffold", True)])
def test_a_term_in_the_gradients_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}={value} is not possible under Keras.*leave it out"):
        SwarmCallback(**{name: value}, loopback=True)

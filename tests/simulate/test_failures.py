"""What a line says about a peer that failed."""

from __future__ import annotations

import pytest

from swarm.errors import ConfigurationError
from swarm.simulate.choices import combinations
from swarm.simulate.failures import of_error


def test_an_error_that_swarm_raises_on_purpose_names_no_line_of_swarm():
    with pytest.raises(ConfigurationError) as caught:
        combinations({"sync_interval": ["0"]})
    assert of_error(caught.value) == f"ConfigurationError: {caught.value}"


def test_such_an_error_names_the_line_of_the_script(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "from swarm.simulate.choices import combinations\n\ncombinations({'codec': ['none']})", encoding="utf-8"
    )
    with pytest.raises(ConfigurationError) as caught:
        exec(compile(script.read_bytes(), str(script), "exec"), {})
    assert of_error(caught.value, script).endswith(" (train.py, line 3)")


def test_any_other_error_names_the_last_line():
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018 - raises
    assert "test_failures.py, line " in of_error(caught.value)

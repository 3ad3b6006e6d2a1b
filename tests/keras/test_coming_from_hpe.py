"""The page for those who come from HPE's product: its lines of Keras 2 fail, and those of Keras 3 run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-hpe.md"


def rows() -> list[tuple[str, str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index("| Keras 2 | Keras 3 |") + 2
    table = lines[start : lines.index("", start)]
    return [tuple(cell.strip().strip("`") for cell in line.strip("|").split(" | ")) for line in table]  # type: ignore[misc]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What a script has by then."""
    x, y = np.random.default_rng(0).random((8, 4)).astype(np.float32), np.zeros(8, int)
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    return {"keras": keras, "model": model, "x": x, "y": y, "batches": _Batches(x, y)}


class _Batches(keras.utils.PyDataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.x[4 * index : 4 * index + 4], self.y[4 * index : 4 * index + 4]


def test_there_are_rows() -> None:
    assert len(rows()) > 10


@pytest.mark.parametrize(("before", "after"), rows())
def test_a_line_of_keras_2_fails_and_its_replacement_runs(
    before: str, after: str, script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AttributeError, ImportError, TypeError, ValueError)):
        exec(before, dict(script))
    exec(after, dict(script))


def test_decay_is_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="decay"):
        keras.optimizers.Adam(decay=0.1)
